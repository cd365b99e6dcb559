//! `/metrics`: one collector over the scoreboard, the fleet and the supervisor's own counts, in Prometheus' text format. Asks no
//! worker. Which families there are; how one is written is the page's business.

mod page;
mod tls;

use std::collections::BTreeMap;

use prometheus::{Encoder, Registry, TextEncoder, proto::MetricType};
use protocol::scoreboard::{Counter, DURATION_BUCKETS_US};
use supervisor_fleet::{Fleet, Moment, Slot, StateName};

use self::page::{Page, as_f64, counter_metric, gauge_metric, histogram_metric, labels};
use crate::{
    certificates::Certificates,
    logging, proc_files,
    tally::{ReloadResult, Tally, Usage},
    workers::{LiveWorker, Workers},
};

/// The name of the pool that the command line describes.
const POOL: &str = "app";

/// The Content-Type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that can be told.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Wanted and observed workers.
    pub fleet: &'a Fleet,
    /// Their processes and records.
    pub workers: &'a Workers,
    /// What the supervisor counted.
    pub tally: &'a Tally,
    /// The certificates of the generation that serves.
    pub certificates: Option<&'a Certificates>,
    /// The time of the scrape.
    pub now: Moment,
}

/// The text of `/metrics`.
///
/// # Errors
/// A family without a name or a sample: a bug of this file.
pub fn render(sight: Sight<'_>) -> prometheus::Result<String> {
    let mut page = Page::default();
    supervisor_families(&mut page, sight);
    fleet_families(&mut page, sight);
    process_families(&mut page, sight);
    http_families(&mut page, sight);
    tls::families(&mut page, sight);
    own_families(&mut page, sight.tally);
    let registry = Registry::new();
    registry.register(Box::new(page))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn supervisor_families(page: &mut Page, Sight { tally, .. }: Sight<'_>) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("supervise_build_info", "Version of supervise; the value is always 1.", [(&version[..], 1.0)]);
    page.gauge(
        "supervise_start_time_seconds",
        "Start of the supervisor, in seconds since 1970.",
        [(&[][..], tally.started_s)],
    );
    let good = f64::from(u8::from(tally.last_reload == ReloadResult::Ok));
    page.gauge(
        "supervise_config_last_reload_successful",
        "Whether the last reload, or the start, ended well.",
        [(&[][..], good)],
    );
    page.gauge(
        "supervise_config_last_reload_success_timestamp_seconds",
        "When the last reload that ended well, or the start, was, in seconds since 1970.",
        [(&[][..], tally.configured_s)],
    );
    page.counters(
        "supervise_reloads_total",
        "Reloads by how they ended.",
        tally.reloads.iter().map(|(result, count)| (vec![("result", result.label())], *count)),
    );
    page.counters(
        "supervise_log_lines_dropped_total",
        "Log lines of the supervisor that were lost because nobody read them in time.",
        [(vec![], logging::dropped_lines())],
    );
}

fn fleet_families(page: &mut Page, Sight { fleet, tally, workers, .. }: Sight<'_>) {
    let pool = [("pool", POOL)];
    page.gauge(
        "supervise_generation",
        "Generation of code and settings that serves.",
        [(&pool[..], f64::from(fleet.generation().0))],
    );
    page.gauge(
        "supervise_workers_desired",
        "Workers that are wanted.",
        [(&pool[..], f64::from(fleet.wanted()))],
    );
    let mut states = BTreeMap::from(["booting", "ready", "draining", "unresponsive"].map(|state| (state, 0)));
    for worker in fleet.workers() {
        *states.entry(state_label(worker.state)).or_default() += 1;
    }
    states.insert("backoff", fleet.slots_in_backoff());
    let samples =
        states.iter().map(|(state, count)| ([("pool", POOL), ("state", *state)], f64::from(*count)));
    page.gauge(
        "supervise_workers",
        "Workers by state; backoff is slots that wait for their replacement.",
        samples,
    );
    page.counters(
        "supervise_worker_starts_total",
        "Worker processes started.",
        [(vec![("pool", POOL)], tally.starts)],
    );
    page.counters(
        "supervise_worker_restarts_total",
        "Workers started to replace one that was lost, by the reason of its exit; never for a reload, scaling or a first start.",
        tally.restarts.iter().map(|(reason, count)| (vec![("pool", POOL), ("reason", *reason)], *count)),
    );
    page.counters(
        "supervise_worker_exits_total",
        "Worker processes that are over, by reason.",
        tally.exits.iter().map(|(reason, count)| (vec![("pool", POOL), ("reason", *reason)], *count)),
    );
    page.times(
        "supervise_worker_boot_duration_seconds",
        "Time from the start of a worker to ready.",
        &tally.boot,
    );
    page.times(
        "supervise_worker_loop_lag_seconds",
        "Time that a worker's event loop took to answer a poke.",
        &workers.loop_lag,
    );
}

fn state_label(state: StateName) -> &'static str {
    match state {
        StateName::Starting => "booting",
        StateName::Ready => "ready",
        StateName::Draining => "draining",
        StateName::Aborting | StateName::Killed => "unresponsive",
    }
}

fn process_families(page: &mut Page, Sight { workers, tally, now, .. }: Sight<'_>) {
    // Old and new of a slot overlap in a reload: amounts are summed, ages are those of the newest.
    let mut used = BTreeMap::<Slot, [u64; 3]>::new();
    let mut newest = BTreeMap::<Slot, &LiveWorker>::new();
    let mut ticks = tally.cpu_of_dead.clone();
    for (id, worker) in workers.iter() {
        newest.insert(worker.slot, worker);
        if let Some(Usage { stat, descriptors, .. }) = tally.usage.get(&id) {
            let sums = used.entry(worker.slot).or_default();
            for (sum, amount) in sums.iter_mut().zip([stat.resident_bytes, *descriptors, stat.threads]) {
                *sum += amount;
            }
            let [user, system] = ticks.entry(worker.slot).or_default();
            *user += stat.user_ticks;
            *system += stat.system_ticks;
        }
    }
    let amounts = |which: usize| used.iter().map(move |(slot, sums)| (*slot, as_f64(sums[which])));
    page.by_worker("supervise_worker_resident_memory_bytes", "Resident memory of a worker.", amounts(0));
    page.by_worker("supervise_worker_open_fds", "Open file descriptors of a worker.", amounts(1));
    page.by_worker("supervise_worker_threads", "Threads of a worker.", amounts(2));
    let age = |since: Moment| as_f64(now.0.saturating_sub(since.0)) / 1e3;
    page.by_worker(
        "supervise_worker_uptime_seconds",
        "Time since a worker was started.",
        newest.iter().map(|(slot, worker)| (*slot, age(worker.spawned_at))),
    );
    page.by_worker(
        "supervise_worker_heartbeat_age_seconds",
        "Time since the event loop of a worker answered last.",
        newest.iter().filter_map(|(slot, worker)| Some((*slot, age(worker.heard_at?)))),
    );
    let second = as_f64(proc_files::ticks_per_second());
    let cpu =
        ticks.iter().flat_map(|(slot, [user, system])| [(slot, "user", *user), (slot, "system", *system)]);
    let cpu = cpu.map(|(slot, mode, ticks)| {
        let labels = labels(&[("pool", POOL), ("worker", &slot.0.to_string()), ("mode", mode)]);
        counter_metric(labels, as_f64(ticks) / second)
    });
    page.family(
        "supervise_worker_cpu_seconds_total",
        "CPU time of a worker and of those before it in its slot.",
        MetricType::COUNTER,
        cpu,
    );
}

fn http_families(page: &mut Page, Sight { workers, .. }: Sight<'_>) {
    use Counter as C;
    let totals = workers.scoreboard().totals();
    let by = |label: &'static str, counters: &[(&'static str, Counter)]| {
        counters
            .iter()
            .map(|(value, counter)| (vec![("pool", POOL), (label, *value)], totals.get(*counter)))
            .collect::<Vec<_>>()
    };
    let classes = [
        ("1xx", C::Responses1xx),
        ("2xx", C::Responses2xx),
        ("3xx", C::Responses3xx),
        ("4xx", C::Responses4xx),
        ("5xx", C::Responses5xx),
    ];
    page.counters(
        "supervise_http_responses_total",
        "Requests answered, by the class of the status.",
        by("code_class", &classes),
    );
    let rejections = [
        ("bad_request", C::RejectedBadRequest),
        ("request_line_too_long", C::RejectedRequestLineTooLong),
        ("header_too_large", C::RejectedHeaderTooLarge),
        ("body_too_large", C::RejectedBodyTooLarge),
        ("header_timeout", C::RejectedHeaderTimeout),
        ("body_timeout", C::RejectedBodyTimeout),
        ("body_too_slow", C::RejectedBodyTooSlow),
        ("write_timeout", C::RejectedWriteTimeout),
        ("request_timeout", C::RejectedRequestTimeout),
        ("queue_full", C::RejectedQueueFull),
        ("queue_timeout", C::RejectedQueueTimeout),
        ("ping_timeout", C::RejectedPingTimeout),
        ("proxy_header", C::RejectedProxyHeader),
        ("http2_flood", C::RejectedFlood),
    ];
    page.counters(
        "supervise_http_requests_rejected_total",
        "Requests that were refused before the application saw them, or cut off.",
        by("reason", &rejections),
    );
    for (name, help, counter) in [
        ("supervise_connections_accepted_total", "Connections accepted.", C::ConnectionsAccepted),
        (
            "supervise_accept_pauses_total",
            "Times that a worker stopped accepting because it had --worker-connections of them.",
            C::AcceptPauses,
        ),
        ("supervise_app_exceptions_total", "Exceptions that escaped from the application.", C::AppExceptions),
        ("supervise_http_request_body_bytes_total", "Bytes of request bodies received.", C::RequestBodyBytes),
        ("supervise_http_response_body_bytes_total", "Bytes of response bodies sent.", C::ResponseBodyBytes),
        (
            "supervise_http_responses_aborted_total",
            "Responses that were broken off before their end.",
            C::ResponsesAborted,
        ),
        (
            "supervise_access_log_lines_dropped_total",
            "Lines of the access log that were lost because nobody took them in time.",
            C::AccessLogLinesDropped,
        ),
    ] {
        page.counters(name, help, [(vec![("pool", POOL)], totals.get(counter))]);
    }
    let bounds = DURATION_BUCKETS_US.map(|us| as_f64(us) / 1e6);
    let sum = as_f64(totals.duration_sum_us) / 1e6;
    let metric = histogram_metric(&bounds, &totals.buckets, sum);
    let help = "Time from a request's head to the end of its reply.";
    page.family("supervise_http_request_duration_seconds", help, MetricType::HISTOGRAM, [metric]);
    connection_gauges(page, workers);
}

fn connection_gauges(page: &mut Page, workers: &Workers) {
    let mut now = BTreeMap::<Slot, [u32; 4]>::new();
    for (_, worker) in workers.iter() {
        let gauges = workers.scoreboard().gauges(worker.lease);
        let active = gauges.connections.saturating_sub(gauges.connections_idle);
        let sums = now.entry(worker.slot).or_default();
        let counts = [gauges.in_flight, active, gauges.connections_idle, gauges.queued];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let in_flight = now.iter().map(|(slot, sums)| (*slot, f64::from(sums[0])));
    page.by_worker(
        "supervise_http_requests_in_flight",
        "Requests begun and not yet answered in full.",
        in_flight,
    );
    page.by_worker(
        "supervise_http_requests_queued",
        "Requests that wait for their turn (--limit-concurrency).",
        now.iter().map(|(slot, sums)| (*slot, f64::from(sums[3]))),
    );
    let connections =
        now.iter().flat_map(|(slot, sums)| [(slot, "active", sums[1]), (slot, "idle", sums[2])]);
    let connections = connections.map(|(slot, state, count)| {
        let labels = labels(&[("pool", POOL), ("worker", &slot.0.to_string()), ("state", state)]);
        gauge_metric(labels, f64::from(count))
    });
    page.family(
        "supervise_connections",
        "Open connections; idle ones wait for their next request.",
        MetricType::GAUGE,
        connections,
    );
}

/// The names that every Prometheus client uses for its own process.
fn own_families(page: &mut Page, Tally { own, started_s, .. }: &Tally) {
    let Some(Usage { stat, descriptors, .. }) = *own else { return };
    let cpu = as_f64(stat.user_ticks + stat.system_ticks) / as_f64(proc_files::ticks_per_second());
    page.family(
        "process_cpu_seconds_total",
        "CPU time of the supervisor.",
        MetricType::COUNTER,
        [counter_metric(vec![], cpu)],
    );
    page.gauge(
        "process_start_time_seconds",
        "Start of the supervisor, in seconds since 1970.",
        [(&[][..], *started_s)],
    );
    for (name, help, value) in [
        (
            "process_max_fds",
            "Limit of open file descriptors of the supervisor.",
            proc_files::descriptor_limit(),
        ),
        ("process_resident_memory_bytes", "Resident memory of the supervisor.", stat.resident_bytes),
        ("process_virtual_memory_bytes", "Address space of the supervisor.", stat.virtual_bytes),
        ("process_open_fds", "Open file descriptors of the supervisor.", descriptors),
        ("process_threads", "Threads of the supervisor.", stat.threads),
    ] {
        page.gauge(name, help, [(&[][..], as_f64(value))]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use supervisor_fleet::{Event, EventKind, Fleet, Moment, PoolSettings, RecyclingSettings};

    use super::{Sight, render};
    use crate::{tally::Tally, workers::Workers};

    const SETTINGS: PoolSettings = PoolSettings {
        workers: 3,
        max_surge: 1,
        boot_timeout_ms: 1_000,
        heartbeat_timeout_ms: 1_000,
        graceful_timeout_ms: 1_000,
        quick_timeout_ms: 1_000,
        shutdown_delay_ms: 0,
        abort_grace_ms: 1_000,
        recycling: RecyclingSettings {
            max_requests: None,
            max_requests_jitter: 0,
            max_lifetime_ms: None,
            max_lifetime_jitter_ms: 0,
            max_memory_bytes: None,
            max_memory_hard_bytes: None,
        },
    };

    #[tokio::test]
    async fn what_can_be_counted_is_there_from_the_start() {
        let mut fleet = Fleet::new(SETTINGS, 1);
        let orders = fleet.step(Event { at: Moment(0), kind: EventKind::Start });
        assert_eq!(orders.len(), 3);
        let workers = Workers::new(PathBuf::from("/worker"), Vec::new()).expect("memory");
        let mut tally = Tally::new();
        tally.refresh_usage(&workers, Moment(0));
        let page = render(Sight {
            fleet: &fleet,
            workers: &workers,
            tally: &tally,
            certificates: None,
            now: Moment(5),
        })
        .expect("a page");
        for line in [
            "supervise_worker_restarts_total{pool=\"app\",reason=\"oom\"} 0",
            "supervise_worker_restarts_total{pool=\"app\",reason=\"signal\"} 0",
            "supervise_reloads_total{result=\"rejected\"} 0",
            "supervise_workers{pool=\"app\",state=\"booting\"} 3",
            "supervise_workers{pool=\"app\",state=\"ready\"} 0",
            "supervise_workers_desired{pool=\"app\"} 3",
            "supervise_http_request_duration_seconds_bucket{pool=\"app\",le=\"+Inf\"} 0",
            "# TYPE supervise_worker_restarts_total counter",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(page.lines().any(|found| found == line), "{line:?} is not in:\n{page}");
        }
        for wanted in ["reload", "scale", "stop"] {
            let never = format!("supervise_worker_restarts_total{{pool=\"app\",reason=\"{wanted}\"}}");
            assert!(!page.contains(&never), "{wanted} is no loss that is repaired");
        }
    }
}
