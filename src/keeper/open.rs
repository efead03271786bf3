//! From the file's `store` to a client.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use super::rites::rites_of;
use crate::{
    client::{Client, Here},
    config::StoreConfig,
    store::{DynamoDbSettings, DynamoDbStore, LocalStore, Store},
};

/// Opens the store that the file names, with what this host knows of its holds.
pub async fn open_client(config: &StoreConfig, state: &Path) -> anyhow::Result<Client> {
    let store: Arc<dyn Store> = match config {
        StoreConfig::Local { path } => Arc::new(LocalStore::open(path)?),
        StoreConfig::Dynamodb { .. } => Arc::new(DynamoDbStore::connect(&table_settings(config)).await?),
    };
    Ok(Client::new(store, Some(open_here(config, state)?)))
}

/// The table that the file names, as its store wants it.
pub fn table_settings(config: &StoreConfig) -> DynamoDbSettings {
    match config.clone() {
        StoreConfig::Dynamodb { table, region, endpoint_url, profile } => {
            DynamoDbSettings { table, region, endpoint_url, profile }
        }
        StoreConfig::Local { .. } => DynamoDbSettings::default(),
    }
}

/// Opens what this host knows of the holds in a store: beside a local store, and for a table in the state
/// folder. Who buries a dead holder with it calls the cleanup of the driver that its keeper wrapped, too.
pub fn open_here(config: &StoreConfig, state: &Path) -> anyhow::Result<Here> {
    let dir: PathBuf = match config {
        StoreConfig::Local { path } => LocalStore::dir_of(path)?,
        StoreConfig::Dynamodb { .. } => state.to_owned(),
    };
    let here = Here::open(&dir).with_context(|| format!("the folder {} can't be used", dir.display()))?;
    Ok(here.with_rites(rites_of(state)))
}
