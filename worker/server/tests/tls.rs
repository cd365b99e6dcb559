//! TLS in the glass box: a client by rustls on one side, the engine on the other.

#![allow(clippy::allow_attributes, reason = "as in the box")]
#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

mod support;

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use support::{
    Metered, Rig,
    apps::{Script, reply},
};
use worker_server::{
    App, ClientCertificates, Exchange, RequestHead, ServerCertificate, Tls, TlsMaterial, TlsRules, TlsVersion,
};

/// An authority and what it issues.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key.
    fn issue(&self, names: &[&str], common_name: &str) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, names: &[&str]) -> ServerCertificate {
        let (chain_pem, key_pem) = self.issue(names, "a server");
        ServerCertificate { names: names.iter().map(|name| (*name).to_owned()).collect(), chain_pem, key_pem }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// What a client is configured with that trusts this authority, and shows `identity`.
    fn client(&self, identity: Option<(String, String)>) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots(), Arc::clone(&provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap());
        match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        }
    }
}

fn rules(client_certificates: ClientCertificates) -> TlsRules {
    TlsRules {
        minimum_version: TlsVersion::Tls12,
        cipher_suites: Vec::new(),
        client_certificates,
        handshake_timeout: Duration::from_secs(5),
    }
}

fn material(certificates: Vec<ServerCertificate>) -> TlsMaterial {
    TlsMaterial { certificates, client_authorities_pem: String::new(), ticket_keys: vec![[7; 32]] }
}

fn tls(certificates: Vec<ServerCertificate>) -> Tls {
    Tls::new(rules(ClientCertificates::None), &material(certificates)).unwrap()
}

/// The client's end.
struct Client {
    session: ClientConnection,
    /// What came, decrypted.
    received: Vec<u8>,
    /// Records of application data that came.
    records: usize,
    /// The beginning of a record of which the rest is to come.
    begun: Vec<u8>,
    failure: Option<rustls::Error>,
}

impl Client {
    fn new(config: &ClientConfig, name: &str) -> Self {
        let session =
            ClientConnection::new(Arc::new(config.clone()), name.to_owned().try_into().unwrap()).unwrap();
        Self { session, received: Vec::new(), records: 0, begun: Vec::new(), failure: None }
    }

    /// Lets both sides talk until nobody has anything to say.
    fn talk<A: App>(&mut self, rig: &mut Rig<A>) {
        loop {
            let mut ours = Vec::new();
            while self.session.wants_write() {
                self.session.write_tls(&mut ours).unwrap();
            }
            rig.send(&ours);
            let theirs = rig.wire.take_output();
            if ours.is_empty() && theirs.is_empty() {
                return;
            }
            self.take(&theirs);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        while let [kind, _, _, high, low, ..] = self.begun[..] {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if self.begun.len() < length {
                break;
            }
            self.begun.drain(..length);
            self.records += usize::from(kind == 23);
        }
        let mut unread = bytes;
        while !unread.is_empty() {
            self.session.read_tls(&mut unread).unwrap();
            if let Err(error) = self.session.process_new_packets() {
                self.failure = Some(error);
                return;
            }
            // It says "would block" when all is taken.
            let _ = self.session.reader().read_to_end(&mut self.received);
        }
    }

    fn ask<A: App>(&mut self, rig: &mut Rig<A>, request: &str) -> String {
        self.session.writer().write_all(request.as_bytes()).unwrap();
        self.talk(rig);
        support::undated(&std::mem::take(&mut self.received))
    }

    /// The certificate that the server showed.
    fn shown(&self) -> &CertificateDer<'static> {
        &self.session.peer_certificates().unwrap()[0]
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Says what it knows of the connection.
fn telling() -> impl App<Chunk = Vec<u8>> {
    Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let told = match &head.connection.tls {
            None => "no TLS".to_owned(),
            Some(tls) => format!(
                "{:x} {:?} {:?} {}",
                tls.version,
                tls.server_name,
                tls.client_name(),
                tls.client_chain_pem().len()
            ),
        };
        reply(&exchange, 200, &[], told.as_bytes());
    })
}

#[test]
fn a_reply_leaves_in_one_record_and_one_write() {
    let authority = Authority::new();
    let tls = tls(vec![authority.server(&["localhost"])]);
    let mut rig = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut rig);
    for round in 0..3 {
        let (records, writes) = (client.records, rig.wire.writes());
        let told = client.ask(&mut rig, GET);
        assert!(told.ends_with("\r\n\r\n304 Some(\"localhost\") None 0"), "{told}");
        assert_eq!(rig.wire.writes() - writes, 1, "writes of reply {round}");
        // The tickets travel with the first one.
        assert_eq!(client.records - records, if round == 0 { 2 } else { 1 }, "records of reply {round}");
    }
    assert_eq!(rig.ledger.count(&Metered::Handshake("done")), 1);
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let certificates = vec![
        authority.server(&["first.example"]),
        authority.server(&["second.example", "*.wild.example"]),
        authority.server(&["exact.wild.example"]),
    ];
    let der: Vec<_> = certificates
        .iter()
        .map(|it| CertificateDer::from_pem_slice(it.chain_pem.as_bytes()).unwrap())
        .collect();
    let tls = tls(certificates);
    for (name, index) in
        [("first.example", 0), ("SECOND.example", 1), ("a.wild.example", 1), ("exact.wild.example", 2)]
    {
        let mut rig = Rig::over_tls(telling(), &tls);
        let mut client = Client::new(&authority.client(None), name);
        client.talk(&mut rig);
        assert_eq!(client.shown(), &der[index], "{name}");
    }
    // Nobody's name: the first certificate, which the client then refuses.
    for name in ["unknown.example", "a.b.wild.example"] {
        let mut rig = Rig::over_tls(telling(), &tls);
        let mut client = Client::new(&authority.client(None), name);
        client.talk(&mut rig);
        let failure = client.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(failure.contains("first.example"), "{name}: {failure}");
        assert_eq!(rig.ledger.count(&Metered::Handshake("failed")), 1, "{name}");
        assert!(rig.is_closed());
    }
}

#[test]
fn replaced_certificates_are_for_new_connections() {
    let authority = Authority::new();
    let (old, new) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let tls = tls(vec![old.clone()]);
    let mut rig = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut rig);
    let bad = ServerCertificate { key_pem: old.key_pem.clone(), ..new.clone() };
    assert!(tls.replace(&material(vec![bad])).is_err(), "a key of another certificate");
    assert!(tls.replace(&material(Vec::new())).is_err());
    tls.replace(&material(vec![new.clone()])).unwrap();
    assert!(client.ask(&mut rig, GET).starts_with("HTTP/1.1 200"), "the connection lives on");
    let mut rig = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut rig);
    assert_eq!(client.shown(), &CertificateDer::from_pem_slice(new.chain_pem.as_bytes()).unwrap());
}

#[test]
fn whoever_speaks_plain_http_is_told_so() {
    let authority = Authority::new();
    let tls = tls(vec![authority.server(&["localhost"])]);
    let mut rig = Rig::over_tls(telling(), &tls);
    let told = rig.send(GET).received();
    assert!(told.starts_with("HTTP/1.1 400 Bad Request\r\n") && told.contains("https://"), "{told}");
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{told}");
    assert!(rig.wire.is_shut_down() && !rig.is_closed(), "what is on its way is still read");
    rig.wire.end_input();
    assert!(rig.run().is_closed());
    assert_eq!(rig.ledger.count(&Metered::Handshake("plain HTTP")), 1);
    // One that does not leave is left.
    let mut rig = Rig::over_tls(telling(), &tls);
    rig.send(GET);
    assert!(rig.pass(Duration::from_secs(2)).is_closed());
}

#[test]
fn a_handshake_has_its_time() {
    let authority = Authority::new();
    let tls = tls(vec![authority.server(&["localhost"])]);
    let mut silent = Rig::over_tls(telling(), &tls);
    assert!(!silent.run().is_closed());
    assert!(!silent.pass(Duration::from_millis(4_900)).is_closed());
    assert!(silent.pass(Duration::from_millis(200)).is_closed());
    assert_eq!(silent.ledger.count(&Metered::Handshake("timed out")), 1);
    // A byte a second is no progress.
    let mut slow = Rig::over_tls(telling(), &tls);
    for byte in [0x16, 3, 1, 0] {
        slow.send([byte]).pass(Duration::from_secs(1));
    }
    assert!(slow.pass(Duration::from_secs(1)).is_closed());
    let mut cut = Rig::over_tls(telling(), &tls);
    cut.run();
    cut.drain.cut();
    assert!(cut.run().is_closed(), "the end of a grace waits for no handshake");
}

#[test]
fn client_certificates() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = TlsMaterial {
        client_authorities_pem: authority.pem.clone(),
        ..material(vec![authority.server(&["localhost"])])
    };
    let known = || Some(authority.issue(&[], "Alice"));
    let unknown = || Some(stranger.issue(&[], "Mallory"));
    let cases = [
        (ClientCertificates::Optional, None, Ok("None 0")),
        (ClientCertificates::Optional, known(), Ok("Some(\"CN=Alice,O=Example\\\\, Inc.\") 1")),
        (ClientCertificates::Optional, unknown(), Err("fatal alert")),
        (ClientCertificates::Required, None, Err("CertificateRequired")),
        (ClientCertificates::Required, known(), Ok("Some(\"CN=Alice,O=Example\\\\, Inc.\") 1")),
        (ClientCertificates::Required, unknown(), Err("fatal alert")),
    ];
    for (asked, identity, expected) in cases {
        let tls = Tls::new(rules(asked), &server).unwrap();
        let mut rig = Rig::over_tls(telling(), &tls);
        let mut client = Client::new(&authority.client(identity), "localhost");
        client.talk(&mut rig);
        match expected {
            Ok(name) => {
                let told = client.ask(&mut rig, GET);
                assert!(told.ends_with(name), "{asked:?}: {told}");
            }
            Err(alert) => {
                let failure = client.failure.map(|error| error.to_string()).unwrap_or_default();
                assert!(failure.contains(alert), "{asked:?}: {failure}");
                assert!(rig.is_closed());
            }
        }
    }
}

#[test]
fn a_session_is_resumed_by_whoever_has_the_key() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let config = authority.client(None);
    let kind_at = |tls: &Tls| {
        let mut rig = Rig::over_tls(telling(), tls);
        let mut client = Client::new(&config, "localhost");
        client.talk(&mut rig);
        assert!(client.ask(&mut rig, GET).starts_with("HTTP/1.1 200"));
        client.session.handshake_kind().unwrap()
    };
    let (one, sibling) = (tls(vec![server.clone()]), tls(vec![server.clone()]));
    assert_eq!(kind_at(&one), HandshakeKind::Full);
    assert_eq!(kind_at(&sibling), HandshakeKind::Resumed);
    let rotated = TlsMaterial { ticket_keys: vec![[8; 32], [7; 32]], ..material(vec![server.clone()]) };
    sibling.replace(&rotated).unwrap();
    assert_eq!(kind_at(&sibling), HandshakeKind::Resumed, "the older key still opens");
    let forgotten = TlsMaterial { ticket_keys: vec![[9; 32]], ..material(vec![server]) };
    sibling.replace(&forgotten).unwrap();
    assert_eq!(kind_at(&sibling), HandshakeKind::Full);
}

#[test]
fn large_bodies_go_both_ways_through_a_narrow_window() {
    let authority = Authority::new();
    let tls = tls(vec![authority.server(&["localhost"])]);
    let large: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let body = large.clone();
    let app =
        Script(move |_: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| reply(&exchange, 200, &[], &body));
    let mut rig = Rig::over_tls(app, &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut rig);
    rig.wire.set_window(Some(0));
    client.session.writer().write_all(GET.as_bytes()).unwrap();
    client.talk(&mut rig);
    for _ in 0..1_000 {
        rig.wire.set_window(Some(1_000));
        rig.run();
        client.talk(&mut rig);
    }
    let end = client.received.len() - large.len();
    assert_eq!(&client.received[end..], &large[..]);
}

#[test]
fn an_end_without_a_farewell_is_no_end() {
    let authority = Authority::new();
    let tls = tls(vec![authority.server(&["localhost"])]);
    let mut rig = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut rig);
    let told = client.ask(&mut rig, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    // Ours is said: the client may take the reply for whole.
    let state = client.session.process_new_packets().unwrap();
    assert!(state.peer_has_closed());
    let mut cut = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&authority.client(None), "localhost");
    client.talk(&mut cut);
    cut.wire.end_input();
    assert!(cut.run().is_closed());
}

#[test]
fn what_cannot_be_spoken_is_refused() {
    let authority = Authority::new();
    let server = material(vec![authority.server(&["localhost"])]);
    let none = TlsRules { cipher_suites: vec![0x002f], ..rules(ClientCertificates::None) };
    assert!(Tls::new(none, &server).is_err(), "no suite is left");
    let modern = TlsRules { minimum_version: TlsVersion::Tls13, ..rules(ClientCertificates::None) };
    let tls = Tls::new(modern, &server).unwrap();
    let provider = Arc::new(ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let mut rig = Rig::over_tls(telling(), &tls);
    let mut client = Client::new(&old, "localhost");
    client.talk(&mut rig);
    assert!(client.failure.is_some() && rig.is_closed());
    // The default speaks both.
    let both = Tls::new(rules(ClientCertificates::None), &server).unwrap();
    let mut rig = Rig::over_tls(telling(), &both);
    let mut client = Client::new(&old, "localhost");
    client.talk(&mut rig);
    assert!(client.ask(&mut rig, GET).contains("303 Some"));
}
