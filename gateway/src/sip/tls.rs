//! TLS under SIP: who we are to those who connect, and whom we believe when we connect.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Both sides of it; either may be absent.
#[derive(Default)]
pub struct SipTls {
    acceptor: Option<TlsAcceptor>,
    connector: Option<TlsConnector>,
    /// The name of servers of which only the address is known.
    domain: String,
}

impl SipTls {
    /// Takes connections with this certificate chain and key (PEM).
    ///
    /// # Errors
    ///
    /// When they can't be read or don't belong together.
    pub fn with_certificate(mut self, chain: &[u8], key: &[u8]) -> io::Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        self.acceptor = Some(TlsAcceptor::from(Arc::new(config)));
        Ok(self)
    }

    /// Connects to servers that show a certificate from one of these authorities (PEM): for the name by which they are known
    /// (RFC 5922 §7.1), or for `domain` if that is an address.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn with_authorities(mut self, authorities: &[u8], domain: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        if roots.is_empty() {
            return Err(io::Error::other("no certificate is in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.connector = Some(TlsConnector::from(Arc::new(config)));
        domain.clone_into(&mut self.domain);
        Ok(self)
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let acceptor = self.acceptor.as_ref().ok_or_else(|| io::Error::other("no certificate"))?;
        acceptor.accept(stream).await
    }

    /// `host`: by what the server is known, a name or an address.
    pub(super) async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<client::TlsStream<TcpStream>> {
        let connector = self.connector.as_ref().ok_or_else(|| io::Error::other("no authorities"))?;
        let name = if host.parse::<IpAddr>().is_ok() { &self.domain } else { host };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }
}
