//! How requests travel. One client serves DynamoDB and the sources of credentials; TLS, with its root
//! certificates, is set up by the first `https` request and never for a plain endpoint. A reply is read to its end
//! here, as far as it may be long, so that whatever is at the other end takes no more memory than that.

use std::{
    error::Error,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{config::RuntimeComponents, error::BoxError};
use aws_smithy_http_client::{
    Connector, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    connection::CaptureSmithyConnection,
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

/// How long a reply may be. The longest ones of DynamoDB are the pages of a scan: 1 MB of data, and what its form
/// adds to that.
const LONGEST_REPLY: usize = 16 << 20;

/// An [`HttpClient`] with one connector for each pair of timeouts that it is asked for.
#[derive(Debug, Default)]
pub(super) struct Http {
    connectors: Mutex<Vec<(Timeouts, SharedHttpConnector)>>,
}

type Timeouts = (Option<Duration>, Option<Duration>);

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(known, _)| *known == timeouts) {
            return connector.clone();
        }
        let by_scheme = ByScheme { settings: settings.clone(), plain: OnceLock::new(), tls: OnceLock::new() };
        let connector = SharedHttpConnector::new(by_scheme);
        connectors.push((timeouts, connector.clone()));
        connector
    }
}

#[derive(Debug)]
struct ByScheme {
    settings: HttpConnectorSettings,
    plain: OnceLock<Connector>,
    tls: OnceLock<Connector>,
}

impl ByScheme {
    /// One connection is all that a process needs: it asks one thing at a time, or nearly so.
    fn builder(&self) -> ConnectorBuilder {
        Connector::builder().connector_settings(self.settings.clone()).pool_max_idle_per_host(1)
    }

    /// Proxies (`HTTPS_PROXY`, `NO_PROXY`) are for TLS alone: what is asked without is on this host or next to
    /// it, as a machine's own metadata are.
    fn connector(&self, uri: &str) -> &Connector {
        if uri.starts_with("https:") {
            self.tls.get_or_init(|| {
                let tls = self.builder().tls_provider(Provider::rustls(CryptoMode::Ring));
                tls.proxy_config(ProxyConfig::from_env()).build()
            })
        } else {
            self.plain.get_or_init(|| self.builder().build_http())
        }
    }
}

impl HttpConnector for ByScheme {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let connection = if let Some(connection) = request.extension::<CaptureSmithyConnection>() {
            connection.clone()
        } else {
            let connection = CaptureSmithyConnection::new();
            request.add_extension(connection.clone());
            connection
        };
        let reply = self.connector(request.uri()).call(request);
        HttpConnectorFuture::new(async move {
            match reply.await {
                Ok(reply) => whole(reply).await.map_err(|error| with_fate(ConnectorError::io(error), true)),
                Err(error) => Err(with_fate(error, connection.get().is_some())),
            }
        })
    }
}

/// The reply with its body in memory.
async fn whole(mut reply: HttpResponse) -> Result<HttpResponse, BoxError> {
    let mut rest = ByteStream::new(std::mem::replace(reply.body_mut(), SdkBody::taken()));
    let mut body = Vec::new();
    while let Some(part) = rest.next().await {
        let part = part?;
        if body.len() + part.len() > LONGEST_REPLY {
            return Err(format!("the reply is longer than {} MB", LONGEST_REPLY >> 20).into());
        }
        body.extend_from_slice(&part);
    }
    *reply.body_mut() = SdkBody::from(body);
    Ok(reply)
}

/// What is known of a request that failed on its way.
#[derive(Debug)]
pub(super) struct Failed {
    /// Whether there was a connection: then the request may have arrived.
    pub(super) may_have_arrived: bool,
    source: BoxError,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_have_arrived { "the connection broke" } else { "there was no connection" })
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Keeps the error's kind: the retries of the credentials' sources go by it.
fn with_fate(error: ConnectorError, may_have_arrived: bool) -> ConnectorError {
    let (timeout, io, user, other) = (error.is_timeout(), error.is_io(), error.is_user(), error.as_other());
    let source = Box::new(Failed { may_have_arrived, source: error.into_source() });
    if timeout {
        ConnectorError::timeout(source)
    } else if io {
        ConnectorError::io(source)
    } else if user {
        ConnectorError::user(source)
    } else {
        ConnectorError::other(source, other)
    }
}
