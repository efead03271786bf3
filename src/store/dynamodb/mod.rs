//! A DynamoDB table as the store: locks over many hosts.
//!
//! The table has the partition key `LockID` (a string), and DynamoDB's time-to-live on `ExpiresAt`. Every
//! change of a lock is one `UpdateItem` with a condition, and asks for the item when the condition fails
//! (`ReturnValuesOnConditionCheckFailure=ALL_OLD`), so that no step needs a read of its own.
//!
//! A lock's history is in items beside it, whose keys begin with its name.
//!
//! IAM actions: `GetItem` and `UpdateItem` to lock, `Scan` to list; to create the table `CreateTable`,
//! `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.

mod cause;
mod clock;
mod connect;
mod credentials;
mod error;
mod expression;
mod genuine;
mod history;
mod http;
mod item;
mod place;
mod renew;
mod reply;
mod settings;
mod store;
mod swap;
mod table;

pub use settings::DynamoDbSettings;
pub use store::DynamoDbStore;
pub use table::{TableCreation, create_table};
