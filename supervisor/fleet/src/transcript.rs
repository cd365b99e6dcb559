//! The language of transcripts, in which a run is told: what happened, and what the fleet ordered. Recordings of real runs and the
//! scenarios of the tests are written in it, so that a bug report becomes a test by being put beside them.
//!
//! ```text
//! settings workers=2 boot=10s           (first line that is no comment; what is not named has a default)
//! 0       start                          (milliseconds from the beginning, then the event)
//! +400    ready 1                        (or from the line before)
//! tick                                   (goes to the next deadline)
//! ticks 60s                              (goes through all deadlines of the next 60 s)
//!  400  → drain 1 within 30000           (an order; made anew whenever the transcript is played)
//! ```

mod events;
mod orders;

use crate::{Action, Event, EventKind, Fleet, Moment, PoolSettings, RecyclingSettings};

/// A run that is being played.
struct Transcript {
    fleet: Fleet,
    settings: PoolSettings,
    now: u64,
    text: String,
}

/// Seed of the jitter in transcripts that name none.
const SEED: u64 = 2;

/// Plays a transcript to a new fleet and returns it as that fleet tells it: what happened is kept, orders are made anew. An order
/// that begins with [`ALARM`], or tells of a broken invariant, shows a bug of the law.
///
/// # Errors
/// A line that is not of the language, with its number, and what is wrong with it.
pub fn play(written: &str) -> Result<String, String> {
    let mut settings = PoolSettings {
        workers: 2,
        max_surge: 1,
        boot_timeout_ms: 10_000,
        heartbeat_timeout_ms: 5_000,
        graceful_timeout_ms: 30_000,
        quick_timeout_ms: 2_000,
        abort_grace_ms: 500,
        shutdown_delay_ms: 0,
        recycling: RecyclingSettings::default(),
    };
    let numbered = written.lines().enumerate().map(|(before, line)| (before + 1, line));
    let mut lines = numbered.filter(|(_, line)| !line.contains('→')).peekable();
    let place = |number: usize, line: &str, error: &str| format!("line {number}, {line:?}: {error}");
    let mut text = String::new();
    while let Some((_, line)) = lines.next_if(|(_, line)| line.is_empty() || line.starts_with('#')) {
        text = text + line + "\n";
    }
    let mut seed = SEED;
    if let Some((number, line)) = lines.next_if(|(_, line)| line.starts_with("settings")) {
        for word in line.split_whitespace().skip(1) {
            let changed = match word.strip_prefix("seed=") {
                Some(value) => events::number(value).map(|value| seed = value),
                None => events::change(&mut settings, word),
            };
            changed.map_err(|error| place(number, line, &error))?;
        }
        text = text + line + "\n";
    }
    let fleet = Fleet::new(settings.clone(), seed);
    let mut transcript = Transcript { fleet, settings, now: 0, text };
    for (number, line) in lines {
        transcript.line(line).map_err(|error| place(number, line, &error))?;
    }
    Ok(transcript.text)
}

/// Begins an order that is none: the law would keep the shell busy for nothing.
pub const ALARM: &str = "ALARM";

/// The first lines of a recording: under which settings the run began, and with which seed.
#[must_use]
pub fn opening(settings: &PoolSettings, seed: u64) -> String {
    format!("settings {} seed={seed}\n\n", events::describe_settings(settings))
}

/// The line of what happened.
#[must_use]
pub fn event_line(event: &Event) -> String {
    format!("{:<8}{}\n", event.at.0, events::describe(&event.kind))
}

/// The line of an order.
#[must_use]
pub fn order_line(at: Moment, order: &Action) -> String {
    format!("{:>8}  → {}\n", at.0, orders::describe(order))
}

impl Transcript {
    fn line(&mut self, line: &str) -> Result<(), String> {
        self.text = std::mem::take(&mut self.text) + line + "\n";
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(()),
            [comment, ..] if comment.starts_with('#') => Ok(()),
            ["tick"] => {
                let due = self.fleet.next_deadline().ok_or("there is no deadline")?;
                self.now = self.now.max(due.0);
                self.happens(EventKind::Tick);
                Ok(())
            }
            ["ticks", duration] => {
                self.ticks(events::milliseconds(duration)?);
                Ok(())
            }
            [time, words @ ..] => {
                self.now = match time.strip_prefix('+') {
                    Some(later) => self.now.saturating_add(events::milliseconds(later)?),
                    None => events::milliseconds(time)?,
                };
                let kind = events::read(words, &mut self.settings)?;
                self.happens(kind);
                Ok(())
            }
        }
    }

    fn ticks(&mut self, duration_ms: u64) {
        let end = self.now.saturating_add(duration_ms);
        while let Some(due) = self.fleet.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            self.happens(EventKind::Tick);
        }
        self.now = end;
    }

    fn happens(&mut self, kind: EventKind) {
        let ticked = kind == EventKind::Tick;
        let at = Moment(self.now);
        for order in self.fleet.step(Event { at, kind }) {
            self.text += &order_line(at, &order);
        }
        if ticked && self.fleet.next_deadline().is_some_and(|due| due.0 <= self.now) {
            let what = "the next deadline has passed although a tick was sent: the shell would spin";
            self.text += &format!("{:>8}  → {ALARM}: {what}\n", self.now);
        }
    }
}
