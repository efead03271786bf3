//! Requests and replies as they travel: HTTP with a length, and what a request is to a lock.

use std::io::{self, BufRead, Read};

use serde_json::Value;

/// What a request is, by its target and its expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one write of an acquire that finds the lock free.
    FirstWrite,
    /// A change of the queue alone: somebody joins or leaves it.
    Queue,
    /// A change of holders and queue: a waiter claims.
    Claim,
    /// A change of the holders alone: a release, an end that is asked for.
    Holders,
    /// A renewal.
    Renewal,
    /// A read of a lock, by which waiters poll.
    Read,
    /// A scan of the table.
    Scan,
    /// The history of a lock.
    History,
    /// Anything else, such as the creation of a table.
    Other,
}

/// Head and body of a request or a reply.
pub struct Message {
    /// With the empty line at its end.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    /// Reads one; `None` at the end of the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = String::new();
        loop {
            let line = head.len();
            if reader.read_line(&mut head)? == 0 {
                return if line == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if &head[line..] == "\r\n" {
                break;
            }
        }
        let mut message = Self { head, body: Vec::new() };
        let length: u64 = message.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        reader.take(length).read_to_end(&mut message.body)?;
        if message.body.len() as u64 == length {
            Ok(Some(message))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The operation that a request asks for, as DynamoDB names it.
    pub fn operation(&self) -> Option<&str> {
        self.header("x-amz-target")?.rsplit('.').next()
    }

    /// Whether a read is to show all that was written before.
    pub fn is_strong(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["ConsistentRead"] == true
    }

    /// What this request is.
    pub fn kind(&self) -> Kind {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let is_history = body["Key"]["LockID"]["S"].as_str().is_some_and(|key| key.contains('\u{1f}'));
        match self.operation() {
            Some("UpdateItem" | "GetItem") if is_history => Kind::History,
            Some("GetItem") => Kind::Read,
            Some("Scan") => Kind::Scan,
            Some("UpdateItem") => kind_of_write(&body),
            _ => Kind::Other,
        }
    }
}

fn kind_of_write(body: &Value) -> Kind {
    let condition = body["ConditionExpression"].as_str().unwrap_or_default();
    if condition.starts_with("attribute_not_exists(#LockID)") {
        return Kind::FirstWrite;
    }
    if condition.starts_with("#Holders[") {
        return Kind::Renewal;
    }
    let sets = |list: &str| body["ExpressionAttributeValues"].get(list).is_some();
    match (sets(":holders"), sets(":queue")) {
        (true, true) => Kind::Claim,
        (true, false) => Kind::Holders,
        (false, true) => Kind::Queue,
        (false, false) => Kind::Other,
    }
}
