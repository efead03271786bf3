//! The YAML file, name templates and policy: which jobs take which locks, and how long they wait.
//!
//! [`load`] finds and reads the file ([`Config`]), [`JobFacts`] is what the runner says about a job,
//! [`JobVariables`] is what the job's author says, and [`decide`] turns the three into a [`Decision`].

mod ask;
mod driver;
mod duration;
mod environment;
mod error;
mod facts;
#[cfg(test)]
mod forgery_tests;
mod glob;
mod load;
mod matcher;
mod ownership;
mod policy;
mod policy_error;
#[cfg(test)]
mod policy_tests;
mod reader;
mod repo_url;
mod rule;
mod rule_ref;
mod scope;
mod settings;
#[cfg(test)]
mod settings_tests;
mod store;
mod suggest;
mod template;
mod variables;
mod words;
mod yaml;

pub use driver::{Driver, DriverCommand};
pub use duration::{DurationError, parse_duration, show_duration};
pub use environment::Environment;
pub use error::{ConfigError, NamedBy, Place, Problem};
pub use facts::{FactsError, JobFacts};
pub use glob::Globs;
pub use load::{load, load_with};
pub use matcher::Matcher;
pub use policy::{Decision, WantedLock, decide};
pub use policy_error::PolicyError;
pub use rule::{Rule, Shared};
pub use rule_ref::RuleRef;
pub use settings::{Config, DEFAULT_FILE, Source};
pub use store::StoreConfig;
pub use template::{Template, TemplateError};
pub use variables::JobVariables;
pub use words::{Mode, Orphan, Survivors};
