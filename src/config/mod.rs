//! The YAML file, name templates and policy.
