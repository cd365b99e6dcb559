//! The families of TLS: handshakes, and the certificates in service. None of them where every listener is plain.

use protocol::scoreboard::Counter;

use super::{POOL, Page, Sight, as_f64};

pub(super) fn families(page: &mut Page, Sight { workers, tally, certificates, .. }: Sight<'_>) {
    let Some(certificates) = certificates else { return };
    let totals = workers.scoreboard().totals();
    let ends = [
        ("ok", Counter::TlsHandshakesDone),
        ("failed", Counter::TlsHandshakesFailed),
        ("timeout", Counter::TlsHandshakesTimedOut),
        ("plain_http", Counter::TlsPlainHttp),
    ];
    page.counters(
        "supervise_tls_handshakes_total",
        "TLS handshakes by how they ended.",
        ends.map(|(result, counter)| (vec![("pool", POOL), ("result", result)], totals.get(counter))),
    );
    page.counters(
        "supervise_tls_certificate_reloads_total",
        "Changes of certificate files, by whether they went into service.",
        [("ok", tally.certificates_renewed), ("refused", tally.certificates_refused)]
            .map(|(result, count)| (vec![("result", result)], count)),
    );
    let ends: Vec<(String, &str, f64)> = certificates
        .facts()
        .iter()
        .map(|facts| (facts.file.display().to_string(), facts.subject.as_str(), as_f64(facts.not_after_s)))
        .collect();
    page.gauge(
        "supervise_tls_certificate_not_after_timestamp_seconds",
        "When each certificate in service ends, in seconds since 1970.",
        ends.iter().map(|(file, subject, end)| ([("file", file.as_str()), ("subject", *subject)], *end)),
    );
}
