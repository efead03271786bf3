//! What GitLab Runner and a job's author see of the four stages.

#[path = "../harness/mod.rs"]
mod harness;

mod contract;
mod deaths;
mod input;
mod kinds;
mod leftovers;
mod lost_time;
mod orphans;
mod output;
mod revoked;
mod run_as;
mod runner;
mod scripts;
mod shells;
mod stand_in;
mod stopped;
mod stores;
mod takeover;
mod trouble;
mod waiting;
mod whole_jobs;
mod wrapped;
mod wrapped_deaths;
mod wrapped_driver;
mod wrapped_trouble;
