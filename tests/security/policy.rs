//! A policy for AWS, and a way to the table that keeps to it: what IAM would deny is denied.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::harness::Message;

/// A policy as IAM reads it, as far as ours need it: allowed is what a statement allows, by action and by the keys that
/// a request names.
#[derive(Clone, Debug)]
pub struct Policy(Value);

/// What requests asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub allowed: BTreeSet<String>,
    pub denied: BTreeSet<String>,
}

impl Policy {
    /// One of `executor-config/`, with the names of the example's host replaced by those of the tests'.
    pub fn read(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("executor-config").join(file);
        let text = fs::read_to_string(path).unwrap().replace("gitlab.example/", "gitlab.example.com/");
        Self(serde_json::from_str(&text).unwrap())
    }

    /// All actions that it names.
    pub fn actions(&self) -> BTreeSet<String> {
        self.statements().flat_map(actions).collect()
    }

    fn statements(&self) -> impl Iterator<Item = &Value> {
        self.0["Statement"].as_array().unwrap().iter()
    }

    fn allows(&self, action: &str, keys: &[&str]) -> bool {
        self.statements().any(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            actions(statement).any(|allowed| allowed == action) && keys_fit(&statement["Condition"], keys)
        })
    }
}

fn actions(statement: &Value) -> impl Iterator<Item = String> {
    let list = match &statement["Action"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    list.into_iter().map(|action| action.as_str().unwrap().strip_prefix("dynamodb:").unwrap().to_owned())
}

/// `ForAllValues` is true of no values at all; that is what `Null` is for.
fn keys_fit(condition: &Value, keys: &[&str]) -> bool {
    const KEYS: &str = "dynamodb:LeadingKeys";
    let Some(condition) = condition.as_object() else { return true };
    condition.iter().all(|(operator, operand)| match operator.as_str() {
        "ForAllValues:StringLike" => {
            let patterns: Vec<&str> =
                operand[KEYS].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            keys.iter().all(|key| patterns.iter().any(|pattern| is_like(key, pattern)))
        }
        "Null" => operand[KEYS] == "false" && !keys.is_empty(),
        other => panic!("the condition {other} is not known here"),
    })
}

fn is_like(key: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => key == pattern,
    }
}

/// An endpoint that forwards to DynamoDB Local what the policy allows.
pub struct Gate {
    pub url: String,
    asked: Arc<Mutex<Asked>>,
}

impl Gate {
    pub fn to(endpoint: &str, policy: Policy) -> Self {
        let target = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Asked>>::default();
        let shared = asked.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, policy, asked) = (target.clone(), policy.clone(), shared.clone());
                thread::spawn(move || serve(client, &target, &policy, &asked));
            }
        });
        Self { url, asked }
    }

    pub fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(client: TcpStream, target: &str, policy: &Policy, asked: &Mutex<Asked>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(request) = Message::read(&mut reader)? {
        let action = request.operation().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&request.body)?;
        let keys: Vec<&str> = body["Key"]["LockID"]["S"].as_str().into_iter().collect();
        let is_allowed = policy.allows(&action, &keys);
        let mut seen = asked.lock().expect("nobody panics with it");
        if is_allowed {
            seen.allowed.insert(action)
        } else {
            seen.denied.insert(format!("{action} of {keys:?}"))
        };
        drop(seen);
        (&client).write_all(&if is_allowed { forward(target, &request)? } else { denial() })?;
    }
    Ok(())
}

fn forward(target: &str, request: &Message) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(target)?;
    server.write_all(&request.bytes())?;
    let reply = Message::read(&mut BufReader::new(server))?;
    reply.map(|reply| reply.bytes()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn denial() -> Vec<u8> {
    let body = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: arn:aws:iam::1:user/ci is not authorized"}"#;
    format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
