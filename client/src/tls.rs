//! Encrypted connections.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect_string::Host;

/// Whom an encrypted connection trusts, and as whom it presents itself. TLS 1.2 and 1.3; everything is PEM.
///
/// The name or address in the connect string must be one that the server's certificate is for.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Text that should be PEM is not.
    #[error("{what}: {source}")]
    Pem {
        /// Which.
        what: &'static str,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("{0} has no certificate")]
    NoCertificate(&'static str),
    /// A certificate or key is not acceptable.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// A name that no certificate can be for.
    #[error("{0:?} is not the name of a server")]
    Name(String),
}

impl Tls {
    /// Trusts servers whose certificates these authorities have signed.
    pub fn trusting(authorities_pem: &[u8]) -> Result<Tls, TlsError> {
        Tls::build(authorities_pem, None)
    }

    /// Likewise, and presents a certificate to servers that ask for one: the chain, its own first, and its key
    /// (not encrypted).
    pub fn trusting_as(authorities_pem: &[u8], chain_pem: &[u8], key_pem: &[u8]) -> Result<Tls, TlsError> {
        Tls::build(authorities_pem, Some((chain_pem, key_pem)))
    }

    /// Expects certificates for this name, rather than for the one in the connect string.
    pub fn server_name(self, name: &str) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.into()))?;
        Ok(Tls { name: Some(name), ..self })
    }

    fn build(authorities_pem: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the list of authorities", authorities_pem)? {
            roots.add(certificate)?;
        }
        // Named, so that it does not depend on what else is in the program.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain_pem, key_pem)) => {
                let chain = certificates("the chain of certificates", chain_pem)?;
                let key = PrivateKeyDer::from_pem_slice(key_pem)
                    .map_err(|source| TlsError::Pem { what: "the key", source })?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Tls { config: Arc::new(config), name: None })
    }

    pub(crate) async fn connect(&self, host: &Host, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.name.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        };
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    match certificates.is_empty() {
        true => Err(TlsError::NoCertificate(what)),
        false => Ok(certificates),
    }
}
