use super::{
    super::{Ending, Fence, HISTORY_LENGTH, Holder, How, codec},
    *,
};

#[test]
fn an_ending_says_what_the_hold_was() {
    let mut state = LockState::new(START);
    state.holders.push(Holder::granted(&shared(1), None));
    ask(&mut state, &shared(2));
    let of = |n| Ending::of(&state, state.holder(token(n)).unwrap(), LEASE, LEASE * 2, How::Evicted);
    assert_eq!(
        (of(1).fence, of(1).slot),
        (START_FENCE, 0),
        "the holder of a first write has the document's fence"
    );
    assert_eq!((of(2).fence, of(2).slot, of(2).mode), (START_FENCE.next(), 1, Mode::Shared));
    assert_eq!(codec::decode_ending(codec::encode_ending(&of(2))), Ok(of(2)));
}

const START_FENCE: Fence = Fence(START.0);

#[test]
fn as_many_grants_in_a_row_as_a_history_is_long_have_places_of_their_own() {
    let places: std::collections::BTreeSet<u64> =
        (0..HISTORY_LENGTH).map(|n| Ending::place(Fence(START.0 + n))).collect();
    assert_eq!(places.len() as u64, HISTORY_LENGTH);
    assert!(places.iter().all(|place| *place < HISTORY_LENGTH));
}

#[test]
fn each_way_to_end_has_a_word_that_is_read_again() {
    for how in [How::Released, How::Lost, How::Evicted, How::Forced, How::Expired, How::Revoked] {
        assert_eq!(How::from_word(how.as_str()), Some(how));
    }
    let mut map = codec::encode_ending(&Ending::of(
        &lock(&[&job(1)]),
        &lock(&[&job(1)]).holders[0],
        LEASE,
        LEASE,
        How::Lost,
    ));
    map.insert("How".into(), super::super::Value::S("vanished".into()));
    assert!(codec::decode_ending(map).unwrap_err().to_string().contains("How is no known word"));
}
