//! A write of one's own that arrives after all is over.

use std::time::Duration;

use crate::{
    bugs::place::{Place, until_so},
    harness::{Fault, Kind},
};

/// Nobody waits so long for a reply.
const LATE: Duration = Duration::from_millis(3_300);

#[tokio::test]
async fn a_first_write_that_arrives_after_the_release_is_taken_back_by_a_process_that_goes_on() {
    let place = Place::new().await;
    place.proxy.once(&[Kind::FirstWrite], Fault::late_request(LATE));
    let guard = place.held().await;
    let fence = guard.fence();
    assert_eq!(place.proxy.hits(), 1, "the second write got it");
    guard.release().await.unwrap();
    let of_the_ghost = async || place.look().await.is_some_and(|state| state.fence.0 == fence.0 + 1);
    until_so("the first one arrives", of_the_ghost).await;
    until_so("it is taken back", async || place.holders().await == 0).await;
}
