//! The bugs that other locks had, each as a test that this one has not got it. The letters in the comments are the
//! trackers: DL cirello-io/dynamolock, LC awslabs/amazon-dynamodb-lock-client, TL tristanls/dynamodb-lock-client, KCL
//! awslabs/amazon-kinesis-client, V, C and TF hashicorp/vault, consul and terraform, GL gitlab-org/gitlab, LR
//! jenkinsci/lockable-resources-plugin.

mod acquires;
mod items;
pub mod place;
mod processes;
mod releases;
mod renewals;
