//! What can happen to a request on its way: whether the table hears of it, and what is answered.

use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whether the table does what is asked.
    pub reaches: bool,
    /// How long it takes to get there.
    pub on_the_way: Duration,
    pub answer: Answer,
}

/// What the client sees.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The table's own reply, or nothing and a closed connection where it was not asked.
    Real,
    /// The table's own reply after this time.
    Late(Duration),
    /// The table's own reply, a byte each time.
    Slowly(Duration),
    /// The beginning of the table's own reply, then the end of the connection.
    CutShort,
    /// The end of the connection.
    Close,
    /// Nothing, over a connection that stays.
    Silence,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A reply that never ends, as fast as it is read.
    Endless,
}

/// The headers of a reply of DynamoDB's.
const GENUINE: &str = "x-amzn-RequestId: TEST\r\nContent-Type: application/x-amz-json-1.0\r\n";

/// Garbage for a reply, by its name: what proxies, captive portals and broken servers send.
const GARBAGE: [(&str, &str); 6] = [
    ("no JSON", "{\"Attributes\": {"),
    ("JSON of another kind", "[1, 2, 3]"),
    ("an item of wrong types", r#"{"Attributes": {"Rev": "7"}, "Item": {"Rev": {"Q": 1}}}"#),
    ("an empty reply", ""),
    ("an empty document", "{}"),
    ("null", "null"),
];

impl Fault {
    const fn of(reaches: bool, answer: Answer) -> Self {
        Self { reaches, on_the_way: Duration::ZERO, answer }
    }

    /// The request is lost, and the connection with it.
    pub const fn lost_request() -> Self {
        Self::of(false, Answer::Close)
    }

    /// The request takes effect; its reply is lost, and the connection with it.
    pub const fn lost_reply() -> Self {
        Self::of(true, Answer::Close)
    }

    /// The request arrives this much later, whether anybody waits for it still or not.
    pub const fn late_request(by: Duration) -> Self {
        Self { reaches: true, on_the_way: by, answer: Answer::Real }
    }

    /// The request takes effect at once, and the reply comes this much later.
    pub const fn late_reply(by: Duration) -> Self {
        Self::of(true, Answer::Late(by))
    }

    /// The request is swallowed, and the connection stays: the other side is gone, and nobody has told.
    pub const fn half_open() -> Self {
        Self::of(false, Answer::Silence)
    }

    /// The request takes effect, and nothing comes back over a connection that stays.
    pub const fn silent_reply() -> Self {
        Self::of(true, Answer::Silence)
    }

    /// The reply comes byte by byte.
    pub const fn slow_bytes(each: Duration) -> Self {
        Self::of(true, Answer::Slowly(each))
    }

    /// The reply ends in the middle.
    pub const fn cut_short() -> Self {
        Self::of(true, Answer::CutShort)
    }

    /// A reply without an end.
    pub const fn endless() -> Self {
        Self::of(false, Answer::Endless)
    }

    /// Any bytes in place of a reply.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(false, Answer::Bytes(bytes.into()))
    }

    /// Any reply over HTTP.
    pub fn reply(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::bytes(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
    }

    /// An error as DynamoDB sends it.
    pub fn error(status: u16, code: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
        Self::reply(status, GENUINE, &format!(r#"{{"__type":"{kind}","message":"made for a test"}}"#))
    }

    /// A document as DynamoDB sends it.
    pub fn genuine(body: &str) -> Self {
        Self::reply(200, GENUINE, body)
    }

    /// DynamoDB's own trouble.
    pub fn server_error() -> Self {
        Self::error(500, "InternalServerError")
    }

    /// The table is out of capacity.
    pub fn throttled() -> Self {
        Self::error(400, "ProvisionedThroughputExceededException")
    }

    /// The credentials have expired.
    pub fn expired() -> Self {
        Self::error(400, "ExpiredTokenException")
    }

    /// A page of a proxy or a captive portal.
    pub fn page() -> Self {
        Self::reply(200, "Content-Type: text/html\r\n", "<html><body>Please log in</body></html>")
    }

    /// Not even HTTP.
    pub fn no_http() -> Self {
        Self::bytes("SSH-2.0-OpenSSH_9.6\r\n\r\n")
    }

    /// Bodies that are none of DynamoDB's below headers that could be, by their names.
    pub fn garbage() -> Vec<(&'static str, Self)> {
        let json = "Content-Type: application/json\r\n";
        GARBAGE.iter().map(|(name, body)| (*name, Self::reply(200, json, body))).collect()
    }

    /// The same answer, but the table does what is asked.
    pub const fn after_effect(mut self) -> Self {
        self.reaches = true;
        self
    }
}
