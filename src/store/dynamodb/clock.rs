//! DynamoDB's own clock, as its replies tell it: static holds end by it, so that no two hosts need to agree.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
};
use rustix::time::{ClockId, clock_gettime};

use super::genuine::REQUEST_ID;
use crate::lock::{EpochMs, Moment};

/// The `Date` of the last reply, and when it came by this host's clock.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    last: Mutex<Option<(EpochMs, Moment)>>,
}

impl ServerClock {
    /// Now: the last reply's date and the time since then; this host's wall clock before the first reply.
    pub(super) fn now(&self) -> EpochMs {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((date, at)) => date.plus(since_boot().since(at)),
            None => epoch(SystemTime::now()),
        }
    }

    fn record(&self, date: &str) {
        if let Ok(date) = httpdate::parse_http_date(date) {
            let reading = (epoch(date), since_boot());
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
    }
}

/// This host's clock that no one sets and that goes on through a suspend.
fn since_boot() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Moment(Duration::new(seconds, nanos))
}

fn epoch(time: SystemTime) -> EpochMs {
    EpochMs(0).plus(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Reads the clock off every reply.
#[derive(Debug)]
pub(super) struct ReadDate(pub(super) Arc<ServerClock>);

impl Intercept for ReadDate {
    fn name(&self) -> &'static str {
        "ReadDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // A proxy's own error page has a date as well, but no request id.
        if headers.contains_key(REQUEST_ID)
            && let Some(date) = headers.get("date")
        {
            self.0.record(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_from_the_last_reply_whatever_the_wall_clock_says() {
        let clock = ServerClock::default();
        clock.record("Thu, 15 Mar 2012 23:56:23 GMT");
        let read = clock.now();
        assert!((1_331_855_783_000..1_331_855_790_000).contains(&read.0), "{read}");
        assert!(clock.now() >= read);
    }

    #[test]
    fn a_date_that_is_none_changes_nothing() {
        let clock = ServerClock::default();
        clock.record("yesterday");
        assert!(clock.now().0 > 1_700_000_000_000);
    }
}
