use super::{
    super::{Map, Value, codec::encode},
    *,
};

/// The size of an item as DynamoDB counts it: names and values of its attributes.
fn size(map: &Map) -> usize {
    map.iter().map(|(key, value)| key.len() + value.size()).sum()
}

/// A job with names of the sizes that large installations have.
fn real(n: u64) -> Request {
    let project = format!("{:x<60}", "platform/services/payments/");
    Request {
        owner: Owner::job("gitlab.example.com", 9_000_000_000 + n),
        who: Who {
            job: format!("{:x<40}", "deploy to production: "),
            job_id: 9_000_000_000 + n,
            pipeline: 1_000_000_000 + n,
            user: "firstname.lastname".into(),
            url: format!("{:x<120}", format!("https://gitlab.example.com/{}", &project[..40])),
            host: format!("{:x<40}", "ip-10-0-0-1.eu-central-1."),
            project,
        },
        ..job(n)
    }
}

#[test]
fn a_held_lock_takes_less_than_one_write_unit() {
    let mut map = encode(&lock(&[&real(1)]));
    map.insert("LockID".into(), Value::S("x".repeat(90)));
    let size = size(&map);
    assert!(size <= 700, "{size} bytes of 1024");
}

#[test]
fn a_held_lock_takes_less_than_one_write_unit_with_all_that_a_holder_may_have() {
    let line = Some(super::super::Line::new(&"x".repeat(150), 9_000_000_000));
    let owner = Owner::pipeline("gitlab.example.com", 70_000_000, 9_000_000_000);
    let all = Request { line, owner, mode: Mode::Shared, limit: Limit(50), ..real(1) };
    let mut state = lock(&[&all]);
    state.holders[0].slot = 49;
    state.part(token(1), Some((START, LEASE)));
    let mut map = encode(&state);
    map.insert("LockID".into(), Value::S("x".repeat(90)));
    map.insert("Home".into(), Value::S("eu-central-1".into()));
    let size = size(&map);
    assert!(size < 1024, "{size} bytes");
}

#[test]
fn a_waiter_takes_a_quarter_of_a_kilobyte_at_most() {
    let alone = encode(&lock(&[&real(1)]));
    let queued = encode(&lock(&[&real(1), &real(2)]));
    let waiter = size(&queued) - size(&alone);
    assert!((150..=250).contains(&waiter), "{waiter} bytes");
}

#[test]
fn the_longest_names_leave_room_for_every_holder_and_the_whole_queue() {
    let long = Who {
        project: "x".repeat(1000),
        job: "ü".repeat(1000),
        job_id: u64::MAX,
        pipeline: u64::MAX,
        user: "x".repeat(1000),
        url: "x".repeat(512),
        host: "x".repeat(1000),
    };
    let greedy = Request { who: long, ..real(1) };
    let holder = size(&encode(&lock(&[&greedy]))) - size(&encode(&LockState::new(START)));
    let most = holder * super::super::MAX_HOLDERS + super::super::MAX_QUEUE_BYTES;
    assert!(most < 400 * 1024, "{most} bytes; a holder has {holder}");
    let waiter = lock(&[&greedy, &Request { who: greedy.who.clone(), ..real(2) }]).queue[0].who.clone();
    assert!(waiter.job.len() <= 24 && waiter.job.ends_with('ü'), "cut at a whole character");
}

#[test]
fn an_address_that_is_too_long_is_left_out_and_not_cut() {
    let url = |length| Who { url: "x".repeat(length), ..Who::default() }.bounded().url.len();
    assert_eq!((url(512), url(513)), (512, 0));
}
