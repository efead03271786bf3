//! What goes wrong on the way, over real connections.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use pipeline_lock::{
    lock::Beat,
    store::{
        Consistency, DynamoDbSettings, DynamoDbStore, Expected, Renewal, Store, StoreError, Swap,
        create_table,
    },
};

use crate::{
    black_hole::black_hole,
    harness::{Fault, Proxy, endpoint},
    support::{SEED, Table, beat_of, held, holder, name, settings, token},
};

async fn store_at(endpoint: String) -> DynamoDbStore {
    let settings = DynamoDbSettings { endpoint_url: Some(endpoint), ..settings() };
    DynamoDbStore::connect(&settings).await.unwrap()
}

/// A store that this fault always meets.
async fn store_with(fault: Fault) -> (DynamoDbStore, Proxy) {
    let proxy = Proxy::to(&endpoint());
    proxy.fault(&[], fault);
    (store_at(proxy.url.clone()).await, proxy)
}

async fn write_error(store: &DynamoDbStore) -> StoreError {
    let free = Expected::Free { seed: SEED };
    store.swap(&name("lock"), free, &held(vec![holder(token(1), 0)])).await.unwrap_err()
}

#[tokio::test]
async fn a_missing_table_is_refused_with_the_command_that_creates_it() {
    let settings = settings();
    let store = DynamoDbStore::connect(&settings).await.unwrap();
    let read = store.read(&name("lock"), Consistency::Strong).await.unwrap_err();
    for error in [write_error(&store).await, read, store.list(Consistency::Strong).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        let command = format!("pipeline-lock table create --table {}", settings.table);
        assert!(error.to_string().contains(&command), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_known_to_have_had_no_effect() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = write_error(&store_at(format!("http://127.0.0.1:{port}")).await).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("refused") && text.contains(&port.to_string()), "{text}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_known_to_have_had_no_effect() {
    let error = write_error(&store_at("http://dynamodb.invalid".into()).await).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("dynamodb.invalid"), "{error}");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_known_to_have_had_no_effect() {
    let (address, _open) = black_hole();
    let store = store_at(address.clone()).await;
    let start = Instant::now();
    let error = write_error(&store).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    assert!(start.elapsed() < store.request_deadline(), "{:?}", start.elapsed());
}

#[tokio::test]
async fn requests_share_one_connection() {
    let (store, proxy) = store_with(Fault::throttled()).await;
    for _ in 0..5 {
        assert!(matches!(write_error(&store).await, StoreError::Throttled(_)));
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_within_the_deadline() {
    let (store, _proxy) = store_with(Fault::half_open()).await;
    let start = Instant::now();
    let error = write_error(&store).await;
    assert!(matches!(error, StoreError::Unanswered(_)), "{error}");
    assert!(start.elapsed() < store.request_deadline() + Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_unanswered_and_the_next_reply_settles_it() {
    let table = Table::new().await;
    let lock = name("lock");
    let proxy = Proxy::to(&endpoint());
    proxy.fault(&[], Fault::lost_reply());
    let lossy = DynamoDbSettings { endpoint_url: Some(proxy.url.clone()), ..table.settings.clone() };
    let lossy = DynamoDbStore::connect(&lossy).await.unwrap();
    let error = write_error(&lossy).await;
    assert!(matches!(error, StoreError::Unanswered(_)), "{error}");

    let store = table.store().await;
    let free = Expected::Free { seed: SEED };
    let swap = store.swap(&lock, free, &held(vec![holder(token(1), 0)])).await.unwrap();
    let Swap::Conflict(Some(current)) = swap else { panic!("{swap:?}") };
    assert!(current.holder(token(1)).is_some());

    let error = lossy.renew(&lock, token(1), Beat(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unanswered(_)), "{error}");
    let renewal = store.renew(&lock, token(1), Beat(1)).await.unwrap();
    let Renewal::Renewed(state) = renewal else { panic!("{renewal:?}") };
    // Both took effect: the first one without a reply, and the second one moved the beat on.
    assert_eq!((beat_of(&state, token(1)), state.rev), (2, current.rev.next().next()));
}

#[tokio::test]
async fn the_services_errors_are_told_apart() {
    let (store, _proxy) = store_with(Fault::throttled()).await;
    assert!(matches!(write_error(&store).await, StoreError::Throttled(_)));
    let (store, _proxy) = store_with(Fault::server_error()).await;
    assert!(matches!(write_error(&store).await, StoreError::Unanswered(_)));
    let (store, _proxy) = store_with(Fault::error(400, "AccessDeniedException")).await;
    let denied = write_error(&store).await;
    assert!(matches!(denied, StoreError::Refused(_)));
    assert!(denied.to_string().contains("dynamodb:UpdateItem"), "{denied}");
    let denied = store.list(Consistency::Strong).await.unwrap_err();
    assert!(denied.to_string().contains("dynamodb:Scan"), "{denied}");
}

#[tokio::test]
async fn what_is_not_dynamodb_is_called_so() {
    let page = "<html>hello</html>";
    let (store, _proxy) = store_with(Fault::reply(404, "Content-Type: text/html\r\n", page)).await;
    let refused = write_error(&store).await;
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("endpoint_url"), "{refused}");
    let (store, _proxy) = store_with(Fault::page()).await;
    let unanswered = write_error(&store).await;
    assert!(matches!(unanswered, StoreError::Unanswered(_)), "{unanswered}");
    assert!(unanswered.to_string().contains("endpoint_url"), "{unanswered}");
    let (store, _proxy) = store_with(Fault::reply(502, "Content-Type: text/html\r\n", page)).await;
    assert!(matches!(write_error(&store).await, StoreError::Unanswered(_)));
}

#[tokio::test]
async fn a_good_status_alone_is_never_believed() {
    let state = held(vec![holder(token(1), 0)]);
    let mut faults: Vec<_> = Fault::garbage();
    let genuine = "x-amzn-RequestId: TEST\r\n";
    faults.extend(["", "null", "[]"].map(|body| (body, Fault::reply(200, genuine, body))));
    for (what, fault) in faults {
        let (store, proxy) = store_with(fault).await;
        let lock = name("lock");
        let swap = store.swap(&lock, Expected::This(&state), &state).await;
        assert!(matches!(swap, Err(StoreError::Unanswered(_))), "{what:?}: {swap:?}");
        let renewal = store.renew(&lock, token(1), Beat(1)).await;
        assert!(matches!(renewal, Err(StoreError::Unanswered(_))), "{what:?}: {renewal:?}");
        let read = store.read(&lock, Consistency::Strong).await;
        assert!(matches!(read, Err(StoreError::Unanswered(_))), "{what:?}: {read:?}");
        assert_eq!(proxy.hits(), 3, "{what:?}");
    }
}

#[tokio::test]
async fn a_reply_without_an_end_takes_little_memory_and_is_given_up() {
    let (store, proxy) = store_with(Fault::endless()).await;
    let error = write_error(&store).await;
    assert!(matches!(error, StoreError::Unanswered(_)), "{error}");
    assert!(error.to_string().contains("longer than 16 MB"), "{error}");
    // What was read, and what the kernel's buffers hold.
    assert!(proxy.flood() < 40 << 20, "{} bytes were taken", proxy.flood());
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_unanswered_also_where_it_would_have_been_an_error() {
    let table = Table::new().await;
    let store = table.store().await;
    let free = Expected::Free { seed: SEED };
    store.swap(&name("lock"), free, &held(vec![holder(token(1), 0)])).await.unwrap();
    let proxy = Proxy::to(&endpoint());
    proxy.fault(&[], Fault::cut_short());
    let settings = DynamoDbSettings { endpoint_url: Some(proxy.url.clone()), ..table.settings.clone() };
    // The reply says that the condition failed.
    let error = write_error(&DynamoDbStore::connect(&settings).await.unwrap()).await;
    assert!(matches!(error, StoreError::Unanswered(_)), "{error}");
    assert!(error.to_string().contains("broke"), "{error}");
}

#[tokio::test]
async fn the_stores_clock_is_the_services_and_not_a_proxys() {
    let date = "Date: Thu, 15 Mar 2012 23:56:23 GMT\r\n";
    let in_2012 = 1_331_855_783_000..1_331_855_843_000;
    let genuine = format!("x-amzn-RequestId: TEST\r\n{date}");
    let denied = r#"{"__type": "com.amazonaws.dynamodb.v20120810#AccessDeniedException"}"#;
    let (store, _proxy) = store_with(Fault::reply(400, &genuine, denied)).await;
    assert!(!in_2012.contains(&store.now().0), "before the first reply it is this host's");
    write_error(&store).await;
    assert!(in_2012.contains(&store.now().0), "{}", store.now());

    let (store, _proxy) = store_with(Fault::reply(502, date, "")).await;
    write_error(&store).await;
    assert!(!in_2012.contains(&store.now().0), "{}", store.now());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let refused = async |settings: DynamoDbSettings, words: &str| {
        let error = DynamoDbStore::connect(&settings).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(DynamoDbSettings { table: String::new(), ..settings() }, "`table`").await;
    refused(DynamoDbSettings { region: None, ..settings() }, "AWS_REGION").await;
    refused(DynamoDbSettings { endpoint_url: Some("localhost:8000".into()), ..settings() }, "http://").await;
    refused(DynamoDbSettings { profile: Some("nobody".into()), ..settings() }, "profile nobody").await;
}

#[tokio::test]
async fn a_name_that_no_table_may_have_is_refused_with_dynamodbs_words() {
    let settings = DynamoDbSettings { table: "no table".into(), ..settings() };
    let error = create_table(&settings, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("no table"), "{error}");
}
