//! Encrypted connections, to a door in front of a server that takes the encryption off.

use std::net::SocketAddr;
use std::sync::Arc;

use ferrokeeper_client::{Client, Create, Tls, TlsError};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::running::{soon, start};

/// An authority, and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap(), key)
    }
}

/// A door for `localhost` that only lets in whom the authority has signed.
async fn door(server: SocketAddr, authority: &Authority) -> SocketAddr {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let (certificate, key) = authority.sign("localhost");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(near).await else { return };
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn both_sides_know_each_other_and_large_data_gets_through() {
    let server = start(&[]);
    let authority = Authority::new();
    let address = door(server.address, &authority).await;
    let (certificate, key) = authority.sign("client");
    let tls = Tls::trusting_as(
        authority.pem().as_bytes(),
        certificate.pem().as_bytes(),
        key.serialize_pem().as_bytes(),
    )
    .unwrap();
    let builder = Client::builder(&format!("localhost:{}", address.port())).tls(tls.clone());
    let client = soon(builder.connect()).await.unwrap();
    let data = vec![7; 1_000_000];
    client.create(Create::new("/large", data.clone())).await.unwrap();
    assert_eq!(soon(client.get("/large")).await.unwrap().0, data);
    let by_address = Client::builder(&address.to_string()).tls(tls.server_name("localhost").unwrap());
    assert!(soon(by_address.connect()).await.is_ok(), "the name to expect can be given");
}

#[tokio::test]
async fn strangers_are_not_talked_to() {
    let server = start(&[]);
    let authority = Authority::new();
    let address = door(server.address, &authority).await;
    let (certificate, key) = authority.sign("client");
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    let refused = async |trusted: &str, servers: String| {
        let tls = Tls::trusting_as(trusted.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
        let patience = std::time::Duration::from_secs(1);
        soon(Client::builder(&servers).tls(tls).connect_timeout(patience).connect()).await.is_err()
    };
    assert!(
        refused(&Authority::new().pem(), format!("localhost:{}", address.port())).await,
        "another authority"
    );
    assert!(refused(&authority.pem(), address.to_string()).await, "a name that the certificate is not for");
}

#[test]
fn what_is_not_pem_is_refused() {
    assert!(matches!(Tls::trusting(b"nonsense"), Err(TlsError::NoCertificate(_))));
}
