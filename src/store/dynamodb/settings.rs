//! Which table, and how to get at it.

/// Where the table of locks is. What is not given here comes from where every AWS tool has it: the
/// environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …), `~/.aws`, the container's or the machine's role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// The table's name or ARN.
    pub table: String,
    /// The region, such as `eu-central-1`: the one home of all locks in the table.
    pub region: Option<String>,
    /// Another endpoint than the region's own: a VPC endpoint, or DynamoDB Local.
    pub endpoint_url: Option<String>,
    /// A profile of `~/.aws/config`. Named here, it goes before credentials in the environment.
    pub profile: Option<String>,
}

impl DynamoDbSettings {
    /// The table `name`, with all else from the environment.
    pub fn new(name: impl Into<String>) -> Self {
        Self { table: name.into(), ..Self::default() }
    }
}
