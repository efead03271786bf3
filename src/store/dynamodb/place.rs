//! The table as messages name it.

use std::fmt;

/// Which table, in which region or at which endpoint.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) table: String,
    pub(super) region: String,
    /// Without user and password, if the URL had them.
    pub(super) endpoint: Option<String>,
    pub(super) profile: Option<String>,
}

impl Place {
    pub(super) fn new(table: &str, region: &str, endpoint: Option<&str>, profile: Option<&str>) -> Self {
        Self {
            table: table.to_owned(),
            region: region.to_owned(),
            endpoint: endpoint.map(without_user),
            profile: profile.map(str::to_owned),
        }
    }

    /// Whom the requests go to.
    pub(super) fn service(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("DynamoDB in {}", self.region),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "table {} at {endpoint}", self.table),
            None => write!(f, "table {} in {}", self.table, self.region),
        }
    }
}

/// A URL may carry a user and a password, which no message may show.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_endpoint_is_not_shown() {
        let place = Place::new("locks", "eu-central-1", Some("http://me:s3cret@host:8000/"), None);
        assert_eq!(place.to_string(), "table locks at http://host:8000/");
        assert_eq!(without_user("https://host/a@b"), "https://host/a@b");
    }
}
