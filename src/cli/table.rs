//! `table create`.

use std::time::Duration;

use super::{Exit, main::runtime, store_args::StoreArgs};
use crate::report;
use crate::{
    config::{Config, StoreConfig},
    keeper::table_settings,
    store::create_table,
};

/// How long AWS may take to make a table.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the table.
pub fn create(store: &StoreArgs, config: &Config) -> anyhow::Result<Exit> {
    let settings = store.store(config)?;
    let StoreConfig::Dynamodb { table, .. } = &settings else {
        anyhow::bail!(
            "which table? Give --table NAME, or `store: {{ dynamodb: {{ table: NAME }} }}` in the file"
        );
    };
    runtime()?.block_on(create_table(&table_settings(&settings), PATIENCE))?;
    report::say(&format!("table {table} is ready"));
    Ok(Exit::Done)
}
