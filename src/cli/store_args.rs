//! Which store a command uses: the file's, unless told otherwise.

use clap::Args;

use crate::{
    client::Client,
    config::{Config, StoreConfig},
    keeper::open_client,
};

/// Where the locks are.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// This DynamoDB table, whatever the file says
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// The table's AWS region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Another address than AWS's own
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

impl StoreArgs {
    /// A client of the store.
    pub async fn client(&self, config: &Config) -> anyhow::Result<Client> {
        let client = open_client(&self.store(config)?, &config.state).await?;
        Ok(client.with_history(config.history))
    }

    /// The store: the file's, with what was told on the command line.
    pub fn store(&self, config: &Config) -> anyhow::Result<StoreConfig> {
        let (file_table, file_region, file_endpoint, profile) = match &config.store {
            StoreConfig::Dynamodb { table, region, endpoint_url, profile } => {
                (Some(table.clone()), region.clone(), endpoint_url.clone(), profile.clone())
            }
            StoreConfig::Local { .. } => (None, None, None, None),
        };
        match self.table.clone().or(file_table) {
            Some(table) => Ok(StoreConfig::Dynamodb {
                table,
                region: self.region.clone().or(file_region),
                endpoint_url: self.endpoint_url.clone().or(file_endpoint),
                profile,
            }),
            None if self.region.is_some() || self.endpoint_url.is_some() => anyhow::bail!(
                "--region and --endpoint-url belong to a DynamoDB table: give --table, or name one in the file"
            ),
            None => Ok(config.store.clone()),
        }
    }
}
