//! The YAML file, name templates and policy: which jobs take which locks, and how long they wait.
//!
//! [`load`] finds and reads the file ([`Config`]), [`JobFacts`] is what the runner says about a job,
//! [`JobVariables`] is what the job's author says, and [`decide`] turns the three into a [`Decision`], which
//! [explains itself](Decision::explain).

mod ask;
#[cfg(test)]
mod bounds_tests;
mod decision;
mod driver;
mod duration;
mod environment;
mod error;
mod explain;
#[cfg(test)]
mod explain_tests;
mod facts;
#[cfg(test)]
mod forgery_tests;
mod glob;
mod load;
mod manner;
#[cfg(test)]
mod manner_tests;
mod matcher;
mod owners;
mod ownership;
mod policy;
mod policy_error;
#[cfg(test)]
mod policy_tests;
mod reader;
mod repo_url;
mod rule;
mod rule_ref;
mod settings;
#[cfg(test)]
mod settings_tests;
mod store;
mod suggest;
mod template;
mod values;
mod variables;
mod wanted;
#[cfg(test)]
mod wanted_tests;
mod words;
mod yaml;

pub use ask::{FOR_SCRIPTS, asked_parent};
pub use decision::{Decision, Origin, Origins, PassedOver, WantedLock};
pub use driver::{Driver, DriverCommand};
pub use duration::{DurationError, parse_duration, show_duration};
pub use environment::{CONFIG_VARIABLE, Environment};
pub use error::{ConfigError, NamedBy, Place, Problem};
pub use explain::{
    ExplainedLine, ExplainedLock, ExplainedOrigin, ExplainedPass, ExplainedRule, ExplainedSetting,
    Explanation,
};
pub use facts::{FactsError, JobFacts};
pub use glob::Globs;
pub use load::{load, load_with};
pub use manner::Manner;
pub use matcher::Matcher;
pub use policy::decide;
pub use policy_error::PolicyError;
pub use rule::{Rule, Shared};
pub use rule_ref::RuleRef;
pub use settings::{Config, DEFAULT_FILE, Source};
pub use store::StoreConfig;
pub use template::{Template, TemplateError};
pub use variables::JobVariables;
pub use words::{OnLost, OnTimeout, Orphan, Scope, Survivors};
