//! Where the locks are kept: on this host, or in a DynamoDB table.

use serde::{Deserialize, Serialize};

use std::path::{Path, PathBuf};

use super::error::{Fault, Problem};
use super::reader::{Item, Schema, Section};
use super::suggest::{hint, shown};
use super::yaml::Value;

/// The store that a file chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreConfig {
    /// A database file of this host.
    Local {
        /// The file, absolute.
        path: PathBuf,
    },
    /// A DynamoDB table, for many hosts.
    Dynamodb {
        /// The table's name.
        table: String,
        /// The region; none: where the AWS SDK's own search ends.
        region: Option<String>,
        /// Another address than AWS's own, `http://…` or `https://…`.
        endpoint_url: Option<String>,
        /// The profile of the shared AWS files.
        profile: Option<String>,
    },
}

const STORES: &[&str] = &["local", "dynamodb"];
const STORE: Schema = Schema { name: "store", keys: STORES, inner: &[("dynamodb", DYNAMODB.keys)] };
const LOCAL: Schema = Schema { name: "local", keys: &["path"], inner: &[] };
const DYNAMODB: Schema =
    Schema { name: "dynamodb", keys: &["table", "region", "endpoint_url", "profile"], inner: &[] };

impl StoreConfig {
    /// The default: `locks.db` in the state folder.
    pub(super) fn local_in(state: &Path) -> Self {
        Self::Local { path: state.join("locks.db") }
    }

    /// Reads the key `store`: `local`, `{ local: … }` or `{ dynamodb: … }`.
    pub(super) fn read(item: Item, state: &Path) -> Result<Self, Fault> {
        if let Value::Text(word) = &item.value {
            return match word.as_str() {
                "local" => Ok(Self::local_in(state)),
                "dynamodb" => {
                    Err(item.bad("`dynamodb` needs a table: write `store: { dynamodb: { table: NAME } }`"))
                }
                other => Err(item.bad(format!("`{}` is no store; {}", shown(other), hint(other, STORES)))),
            };
        }
        let mut section = Section::open(item.into_node(), &STORE)?;
        match (section.take("local"), section.take("dynamodb")) {
            (Some(_), Some(second)) => Err(Fault::new(
                second.place,
                Problem::Both { within: "store", one: "local", other: "dynamodb" },
            )),
            (Some(local), None) => Self::read_local(local, state),
            (None, Some(dynamodb)) => Self::read_dynamodb(dynamodb),
            (None, None) => Err(Fault::new(
                section.place,
                Problem::Missing { key: "local` or `dynamodb", within: "store", example: "store: local" },
            )),
        }
    }

    fn read_local(item: Item, state: &Path) -> Result<Self, Fault> {
        if item.value == Value::Null {
            return Ok(Self::local_in(state));
        }
        let path = Section::open(item.into_node(), &LOCAL)?.opt("path", Item::path)?;
        Ok(path.map_or_else(|| Self::local_in(state), |path| Self::Local { path }))
    }

    fn read_dynamodb(item: Item) -> Result<Self, Fault> {
        let mut section = Section::open(item.into_node(), &DYNAMODB)?;
        Ok(Self::Dynamodb {
            table: read_table(section.need("table", "table: pipeline-locks")?)?,
            region: section.opt("region", read_region)?,
            endpoint_url: section.opt("endpoint_url", read_endpoint)?,
            profile: section.opt("profile", Item::text)?,
        })
    }
}

/// DynamoDB's own rule for a table's name.
fn read_table(item: Item) -> Result<String, Fault> {
    let (key, place) = (item.key, item.place);
    let name = item.text()?;
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    if (3..=255).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(name);
    }
    let why = format!("\"{}\" is no table's name: 3 to 255 of a-z, A-Z, 0-9, _ . and -", shown(&name));
    Err(Fault::new(place, Problem::Value { key, why }))
}

fn read_region(item: Item) -> Result<String, Fault> {
    let (key, place) = (item.key, item.place);
    let region = item.text()?;
    if region.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Ok(region);
    }
    let why = format!("\"{}\" is no region: write one such as eu-central-1", shown(&region));
    Err(Fault::new(place, Problem::Value { key, why }))
}

fn read_endpoint(item: Item) -> Result<String, Fault> {
    let (key, place) = (item.key, item.place);
    let url = item.text()?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let clean = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    if host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && clean {
        return Ok(url);
    }
    let why = format!("\"{}\" is no address: begin it with https:// or http://", shown(&url));
    Err(Fault::new(place, Problem::Value { key, why }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Place;
    use crate::config::yaml;

    fn read(text: &str) -> Result<StoreConfig, String> {
        let node = yaml::parse(text).unwrap();
        let item = Item { key: "store", place: Place::default(), value: node.value };
        StoreConfig::read(item, Path::new("/state")).map_err(|fault| fault.problem.to_string())
    }

    #[test]
    fn the_local_store_lies_in_the_state_folder_unless_told_otherwise() {
        let default = StoreConfig::Local { path: "/state/locks.db".into() };
        assert_eq!(read("local"), Ok(default.clone()));
        assert_eq!(read("local:"), Ok(default));
        assert_eq!(read("local: { path: /x/y.db }"), Ok(StoreConfig::Local { path: "/x/y.db".into() }));
        assert!(read("local: { path: y.db }").unwrap_err().contains("absolute"));
    }

    #[test]
    fn dynamodb_needs_its_table_alone() {
        let Ok(StoreConfig::Dynamodb { table, region: None, .. }) = read("dynamodb: { table: locks }") else {
            panic!("no table")
        };
        assert_eq!(table, "locks");
        assert!(read("dynamodb: { region: eu-central-1 }").unwrap_err().contains("table: pipeline-locks"));
        assert!(read("dynamodb").unwrap_err().contains("needs a table"));
    }

    #[test]
    fn wrong_values_say_what_would_do() {
        assert!(read("dynamodb: { table: a }").unwrap_err().contains("3 to 255"));
        assert!(read("dynamodb: { table: abc, region: EU }").unwrap_err().contains("eu-central-1"));
        assert!(
            read("dynamodb: { table: abc, endpoint_url: 'localhost:8000' }")
                .unwrap_err()
                .contains("https://")
        );
        for odd in ["http://", "https:///x", "http://a b", "http://a\\nb"] {
            let error = read(&format!("dynamodb: {{ table: abc, endpoint_url: \"{odd}\" }}")).unwrap_err();
            assert!(error.contains("is no address") && !error.contains('\n'), "{error}");
        }
        assert!(read("dynamo").unwrap_err().contains("did you mean `dynamodb`?"));
        assert!(read("{ local: , dynamodb: { table: abc } }").unwrap_err().contains("keep one"));
        assert!(read("table: abc").unwrap_err().contains("under `dynamodb:`"));
        assert!(read("[local]").unwrap_err().contains("is a list"));
    }
}
