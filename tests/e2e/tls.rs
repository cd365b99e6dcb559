//! Promise: TLS with the certificates that the files hold, proven before anything listens, chosen by name, and renewed without a
//! restart and without a lost request. A bad certificate never goes into service, and never takes a good one out of it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use harness::{
    Authority, Guest, Issued, Machine, Python, Reloaded, Server, ServerBuilder, TestDirectory, TlsClient,
    Validity, http, product_directory, wait_until,
};
use rcgen::KeyPair;

const LIMIT: Duration = Duration::from_secs(15);

/// The same key in the clear and encrypted with the password `open-sesame`, by `openssl genpkey` and `openssl pkcs8 -topk8`.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgod26bxRSdCWTv6jA
os6BsoEQOXkI1HtgQ3MfCoXF9ayhRANCAAT5tK0vUDo4KWFpEHMRaKCDU0qBJjEN
wDW+KePHC4vRdL0n61sjiHnSbrS+VUX7UHuzjq6JYtoPDLDZaMnLkWJE
-----END PRIVATE KEY-----
";
const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgp4hQpJuopkQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEORoLCDVArpi0SUL6yzq/cAEgZAk
18eIp00jRZ0fJLvUVhL9k/0xhq843vsC5TfgUCnISeCq9Vq8KV2AvCMfDcl9G9L4
ZgAGH6ftyfWYrhswj0dgGg/wRE4wZbrhinwa9lhO5m9p/b/m23P5U1bwl1SASLbp
X+vxYB6U3aMS/ZPdVVwK5c10YUjQZuQBxDQ2R3SFGL/NvTBJZ6U2NoMG5FFk8zQ=
-----END ENCRYPTED PRIVATE KEY-----
";
const PASSWORD: &str = "open-sesame";

/// The address that it printed after `scheme`.
fn address(server: &Server, scheme: &str) -> SocketAddr {
    let line = server.log.wait_for_line(&format!("listening on {scheme}://"), LIMIT);
    let (_, after) = line.split_once("://").expect("it was found by this");
    after.trim().parse().unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn https(server: &Server) -> SocketAddr {
    address(server, "https")
}

/// A server of the welcome app with one certificate in `server.pem` and `server.key`.
fn with_certificate<'m>(machine: &'m Machine, issued: &Issued) -> ServerBuilder<'m> {
    machine.server().file("server.pem", &issued.certificate).file("server.key", &issued.key).arguments([
        "--certfile",
        "server.pem",
        "--keyfile",
        "server.key",
    ])
}

fn answers(client: &TlsClient, server: &Server, name: &str, issued: &Issued) {
    let seen = client.get(https(server), name, "/healthz").expect("an answer");
    assert!(seen.reply.starts_with("HTTP/1.1 200"), "{}", seen.reply);
    assert!(issued.is_in(&seen), "another certificate was shown for {name}");
}

#[test]
fn certificates_by_name_and_a_word_for_who_speaks_plain_http() {
    let machine = Machine::shared();
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["first.example"]), authority.issue(&["*.second.example"]));
    let server = with_certificate(&machine, &first)
        .file("second.pem", &(second.certificate.clone() + &second.key))
        .file("second.key", &second.key)
        .arguments(["--ssl-certfile", "second.pem", "--ssl-keyfile", "second.key", "--workers", "2"])
        .start();
    let client = authority.client(None);
    answers(&client, &server, "first.example", &first);
    answers(&client, &server, "www.second.example", &second);
    let stranger = Authority::new().client(None);
    assert!(stranger.get(https(&server), "first.example", "/").is_err(), "nobody vouches for it");
    let plain = http::get(https(&server), "/").expect("an answer");
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{}", plain.text());
    server.wait_for_metric("supervise_tls_handshakes_total", &[("result", "plain_http")], 1.0, LIMIT);
    server.wait_for_metric("supervise_tls_handshakes_total", &[("result", "failed")], 1.0, LIMIT);
    server.wait_for_metric("supervise_tls_handshakes_total", &[("result", "ok")], 2.0, LIMIT);
    let ends = server.metrics().sum("supervise_tls_certificate_not_after_timestamp_seconds", &[]);
    assert!(ends > 2.0 * 4_000_000_000.0, "two certificates that end in 2099: {ends}");
    server.stop();
}

#[test]
fn clients_show_certificates_and_applications_learn_of_them() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let alice = authority.issue(&["alice"]);
    let mallory = Authority::new().issue(&["mallory"]);
    for (asked, anonymous_is_served) in [("optional", true), ("2", false)] {
        let server = with_certificate(&machine, &issued)
            .guest(Guest { name: "tls_app" }, &python)
            .file("clients.pem", &authority.pem())
            .arguments(["--ca-certs", "clients.pem", "--cert-reqs", asked, "app:app"])
            .start();
        let told_at = |client: &TlsClient, path: &str| {
            let seen = client.get(https(&server), "localhost", path).ok()?;
            let (_, body) = seen.reply.split_once("\r\n\r\n")?;
            let body = body.split_once('{').map(|(_, rest)| format!("{{{rest}"))?;
            let end = body.rfind('}')?;
            serde_json::from_str::<serde_json::Value>(&body[..=end]).ok()
        };
        let told = |client: &TlsClient| told_at(client, "/");
        let known = told(&authority.client(Some(&alice))).expect("Alice is served");
        assert_eq!(known["scheme"], "https");
        let tls = &known["tls"];
        assert_eq!(tls["client_cert_name"], "CN=alice,O=Example");
        assert_eq!(
            tls["client_cert_chain"][0].as_str().map(str::trim),
            Some(alice.certificate.replace("\r\n", "\n").trim())
        );
        assert_eq!(
            tls["server_cert"].as_str().map(str::trim),
            Some(issued.certificate.replace("\r\n", "\n").trim())
        );
        assert_eq!(
            (&tls["tls_version"], &tls["client_cert_error"]),
            (&0x0304.into(), &serde_json::Value::Null)
        );
        assert!(tls["cipher_suite"].as_u64().is_some_and(|suite| suite >> 8 == 0x13), "{tls}");
        assert!(known["credentials"].is_null(), "the application is told of no descriptor of ours");
        let anonymous = told(&authority.client(None));
        assert_eq!(anonymous.is_some(), anonymous_is_served, "--cert-reqs {asked}");
        if let Some(anonymous) = anonymous {
            assert_eq!(anonymous["tls"]["client_cert_chain"], serde_json::json!([]));
        }
        assert!(told(&authority.client(Some(&mallory))).is_none(), "Mallory is refused");
        // What an application does to the extensions of one request is not seen by the next.
        let again = || told(&authority.client(Some(&alice))).expect("Alice is served");
        assert_eq!(again(), known);
        told_at(&authority.client(Some(&alice)), "/spoil").expect("Alice is served");
        assert_eq!(again(), known);
        server.stop();
    }
}

#[test]
fn wsgi_applications_and_programs_learn_of_clients_by_the_usual_variables() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let alice = authority.issue(&["alice"]);
    let show = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; env | sort\n";
    for arguments in [&["--worker-class", "threads", "app:app"][..], &["--interface", "cgi", "show.sh"]] {
        let mut server = with_certificate(&machine, &issued)
            .guest(Guest::WSGI, &python)
            .file("show.sh", show)
            .file("clients.pem", &authority.pem())
            .arguments(["--ca-certs", "clients.pem", "--cert-reqs", "optional"]);
        let program = server.directory().join("show.sh");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        for argument in arguments {
            server = server.arguments([argument]);
        }
        let server = server.start();
        let told = |client: &TlsClient| {
            let reply = client.get(https(&server), "localhost", "/environ").expect("an answer").reply;
            // JSON and the output of `env` read alike then.
            reply.replace("\": \"", "=")
        };
        let known = told(&authority.client(Some(&alice)));
        for said in [
            "SSL_CLIENT_VERIFY=SUCCESS",
            "SSL_CLIENT_S_DN=CN=alice,O=Example",
            "SSL_CLIENT_I_DN=",
            "SSL_CLIENT_M_SERIAL=",
            "SSL_CLIENT_CERT=-----BEGIN CERTIFICATE-----",
        ] {
            assert!(known.contains(said), "{arguments:?}: {said} is not in\n{known}");
        }
        let anonymous = told(&authority.client(None));
        assert!(anonymous.contains("SSL_CLIENT_VERIFY=NONE"), "{arguments:?}\n{anonymous}");
        assert!(!anonymous.contains("SSL_CLIENT_S_DN"), "{arguments:?}\n{anonymous}");
        server.stop();
    }
}

/// What `check-config` says in a directory with these files.
fn checked(files: &[(&str, &str)], arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let directory = TestDirectory::new();
    for (name, text) in files {
        fs::write(directory.join(name), text).expect("a file");
    }
    let mut command = Command::new(product_directory().join("supervise"));
    command.arg("check-config").args(arguments).current_dir(directory.path());
    let output = command.envs(variables.iter().copied()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text.into_owned())
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_listens() {
    let _machine = Machine::shared();
    let authority = Authority::new();
    let key = KeyPair::from_pem(KEY).expect("a key");
    let good = authority.issue_for(&["localhost"], Validity::Now, &key);
    let expired = authority.issue_for(&["localhost"], Validity::Over, &key);
    let ahead = authority.issue_for(&["localhost"], Validity::Ahead, &key);
    let other = authority.issue(&["localhost"]);
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,AB\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let broken = good.certificate.replacen('M', "%", 3);
    let pair: &[&str] = &["--certfile", "c", "--keyfile", "k"];
    let cases: [(&str, &str, &str, i32, &[&str]); 10] = [
        ("all is well", &good.certificate, KEY, 0, &["localhost", "2099"]),
        ("expired", &expired.certificate, KEY, 78, &["expired at 2021-01-01", "renew"]),
        ("not yet valid", &ahead.certificate, KEY, 78, &["not valid before 2098", "clock"]),
        ("another's key", &good.certificate, &other.key, 78, &["not the one of the certificate", "openssl"]),
        ("no PEM", "hello", KEY, 78, &["holds no certificate", "BEGIN CERTIFICATE"]),
        ("broken PEM", &broken, KEY, 78, &["is broken"]),
        ("an empty chain", "", KEY, 78, &["holds no certificate"]),
        ("no key", &good.certificate, "", 78, &["holds no private key"]),
        ("a key without its password", &good.certificate, ENCRYPTED_KEY, 78, &["--keyfile-password-file"]),
        ("an old encryption", &good.certificate, legacy, 78, &["openssl pkcs8 -topk8"]),
    ];
    for (what, certificate, key, code, said) in cases {
        let (status, text) = checked(&[("c", certificate), ("k", key)], pair, &[]);
        assert_eq!(status, Some(code), "{what}: {text}");
        for part in said {
            assert!(text.contains(part), "{what}: {part:?} is not in:\n{text}");
        }
    }
    let (status, text) = checked(&[("k", KEY)], pair, &[]);
    assert_eq!(status, Some(66), "a missing file: {text}");
    let files = [
        ("c", good.certificate.as_str()),
        ("k", ENCRYPTED_KEY),
        ("right", "open-sesame\n"),
        ("wrong", "sesame\n"),
    ];
    let from_file = |file| ["--certfile", "c", "--keyfile", "k", "--keyfile-password-file", file];
    assert_eq!(checked(&files, &from_file("right"), &[]).0, Some(0));
    let (status, text) = checked(&files, &from_file("wrong"), &[]);
    assert!(status == Some(78) && text.contains("does not open"), "{text}");
    assert_eq!(checked(&files, pair, &[("SUPERVISE_KEYFILE_PASSWORD", PASSWORD)]).0, Some(0));
    let on_the_line = ["--certfile", "c", "--keyfile", "k", "--ssl-keyfile-password", PASSWORD];
    let (status, text) = checked(&files, &on_the_line, &[]);
    assert!(
        status == Some(2) && text.contains("SUPERVISE_KEYFILE_PASSWORD") && !text.contains(PASSWORD),
        "{text}"
    );
    for alone in [&["--keyfile", "k"][..], &["--insecure-bind", "127.0.0.1:0"], &["--cert-reqs", "required"]]
    {
        let (status, text) = checked(&files, alone, &[]);
        assert!(status == Some(2) && text.contains("--certfile"), "{alone:?}: {text}");
    }
}

#[test]
fn an_expired_certificate_starts_nothing_and_a_password_stays_with_the_supervisor() {
    let machine = Machine::shared();
    let authority = Authority::new();
    let key = KeyPair::from_pem(KEY).expect("a key");
    let expired = authority.issue_for(&["localhost"], Validity::Over, &key);
    let mut refused = with_certificate(&machine, &expired).spawn();
    let status = refused.wait_for_exit(LIMIT);
    assert_eq!(status.code(), Some(78));
    assert!(!refused.log.has_line("listening on"), "nothing listens before all is proven");
    let Some(python) = Python::default_one() else { return };
    let good = authority.issue_for(&["localhost"], Validity::Now, &key);
    let server = with_certificate(&machine, &good)
        .guest(Guest { name: "tls_app" }, &python)
        .file("server.key", ENCRYPTED_KEY)
        .environment("SUPERVISE_KEYFILE_PASSWORD", PASSWORD)
        .arguments(["app:app"])
        .start();
    let seen = authority.client(None).get(https(&server), "localhost", "/").expect("an answer");
    assert!(seen.reply.contains("\"password\": null"), "{}", seen.reply);
    assert!(!server.log.text().contains(PASSWORD));
    server.stop();
}

/// Requests on new connections, one after the other, until stopped: how many were answered, and what went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn start(client: TlsClient, target: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = thread::spawn(move || {
            let mut failures = Vec::new();
            while !told.load(Ordering::Relaxed) {
                match client.get(target, "localhost", "/healthz") {
                    Ok(seen) if seen.reply.starts_with("HTTP/1.1 200") => {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(seen) => failures.push(seen.reply),
                    Err(error) => failures.push(error.to_string()),
                }
            }
            failures
        });
        Self { stop, answered, thread }
    }

    fn finish(self) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until("answers after the last change", LIMIT, || {
            self.answered.load(Ordering::Relaxed) > before + 5
        });
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.thread.join().expect("the load ran");
        assert_eq!(failures, Vec::<String>::new());
    }
}

#[test]
fn certificates_are_renewed_under_load_and_bad_ones_are_not() {
    let machine = Machine::shared();
    let authority = Authority::new();
    let client = authority.client(None);
    let old = authority.issue(&["localhost"]);
    let server = with_certificate(&machine, &old).arguments(["--workers", "2"]).start();
    let target = https(&server);
    let shows = |issued: &Issued| {
        wait_until("the certificate in service", LIMIT, || {
            client.get(target, "localhost", "/").is_ok_and(|seen| issued.is_in(&seen))
        });
    };
    let write = |issued: &Issued| {
        server.write_file("server.key", &issued.key);
        server.write_file("server.pem", &issued.certificate);
    };
    let reloads =
        |result| server.metrics().sum("supervise_tls_certificate_reloads_total", &[("result", result)]);
    shows(&old);
    let load = Load::start(client.clone(), target);
    let workers = server.workers();
    // Other files: in service for new connections, without a new worker.
    let new = authority.issue(&["localhost"]);
    write(&new);
    shows(&new);
    assert_eq!(server.workers(), workers, "the workers are the same");
    // Bad files: refused once, and the good ones stay, also for a worker that starts now, and at a reload.
    let key = KeyPair::generate().expect("a key");
    let mark = server.log.mark();
    write(&authority.issue_for(&["localhost"], Validity::Over, &key));
    let _ = server.log.wait_for_line_after(mark, "expired at", LIMIT);
    assert_eq!(server.reload(), Reloaded::Rejected);
    harness::processes::send_signal(workers[0].pid, harness::processes::Signal::SIGKILL);
    wait_until("a new worker", LIMIT, || {
        server.ready_workers() == 2.0 && !server.workers().contains(&workers[0])
    });
    shows(&new);
    assert_eq!(reloads("refused"), 1.0, "told once");
    // Mended, by a reload this time.
    let newest = authority.issue(&["localhost"]);
    write(&newest);
    assert_eq!(server.reload(), Reloaded::Ok);
    shows(&newest);
    load_or_death(load);
    server.stop();
}

/// A connection that the killed worker had may be lost; nothing else.
fn load_or_death(load: Load) {
    let before = load.answered.load(Ordering::Relaxed);
    wait_until("answers after the last change", LIMIT, || load.answered.load(Ordering::Relaxed) > before + 5);
    load.stop.store(true, Ordering::Relaxed);
    let failures = load.thread.join().expect("the load ran");
    assert!(failures.len() <= 1, "{failures:?}");
}

#[test]
fn a_reload_loses_no_request_over_tls() {
    let machine = Machine::shared();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let server = with_certificate(&machine, &issued).arguments(["--workers", "2"]).start();
    let load = Load::start(authority.client(None), https(&server));
    for _ in 0..2 {
        assert_eq!(server.reload(), Reloaded::Ok);
    }
    load.finish();
    server.stop();
}

#[test]
fn plain_listeners_beside_tls() {
    let machine = Machine::shared();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let beside = |extra: &[&'static str]| {
        let mut server = with_certificate(&machine, &issued).arguments(["--insecure-bind", "127.0.0.1:0"]);
        for argument in extra {
            server = server.arguments([argument]);
        }
        server.start()
    };
    let server = beside(&[]);
    assert_eq!(http::get(address(&server, "http"), "/healthz").expect("an answer").status, 200);
    answers(&authority.client(None), &server, "localhost", &issued);
    server.stop();

    let server = beside(&["--redirect-https"]);
    let ask = |method, host| {
        let mut connection = http::Connection::open(address(&server, "http")).expect("a connection");
        let request = format!("{method} /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.send(request.as_bytes()).expect("sent");
        let reply = connection.receive(method).expect("an answer");
        (reply.status, reply.header("location").map(str::to_owned))
    };
    let there = |host: &str| Some(format!("https://{host}:{}/a%20b?c=d", https(&server).port()));
    assert_eq!(ask("GET", "localhost"), (301, there("localhost")));
    assert_eq!(ask("HEAD", "localhost:80"), (301, there("localhost")));
    assert_eq!(ask("POST", "[::1]:80"), (308, there("[::1]")));
    assert_eq!(ask("GET", "a@b").0, 400);
    server.stop();

    let server = beside(&["--redirect-https=443"]);
    let reply = http::get(address(&server, "http"), "/").expect("an answer");
    assert!(reply.header("location").is_some_and(|it| it.starts_with("https://") && !it.contains(":443")));
    server.stop();
}
