//! The black box: writes what happened to the fleet and what it ordered into a file, in the language of transcripts, so that a run can
//! be replayed. The deciding thread never waits for the disk: a thread of its own writes, and a recording with a gap ends there,
//! because what follows could not be replayed.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use supervisor_fleet::{Action, Event, PoolSettings, transcript};

use crate::error::{ExitStatus, Expected, ExpectedError};

/// Steps that may wait for the disk: minutes of a large fleet.
const WAITING_STEPS: usize = 16 * 1024;
/// A recording ends here: a heartbeat is about 20 bytes, so this is two days of 64 workers.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// At the end the rest is written for at most so long.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// A recording under way.
#[derive(Debug)]
pub struct Recorder {
    /// None once the recording has ended early.
    steps: Option<SyncSender<String>>,
    written: Receiver<()>,
}

impl Recorder {
    /// Begins a recording. One that is there already, of the run before, is kept beside it as `FILE.old`.
    ///
    /// # Errors
    /// Exit 77 or 71 when the file cannot be made.
    pub fn start(path: &Path, settings: &PoolSettings, seed: u64) -> Expected<Self> {
        let refuse = |error: io::Error| {
            let message = format!("the recording {} cannot be written: {error}", path.display());
            ExpectedError::new("record/unwritable", ExitStatus::of_unwritable(&error), message)
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".old");
        match fs::rename(path, PathBuf::from(beside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refuse(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file = File::create_new(path).map_err(refuse)?;
        let version = env!("CARGO_PKG_VERSION");
        let opening = format!(
            "# Recorded by supervise {version}: `supervise replay {}` plays it.\n{}",
            path.display(),
            transcript::opening(settings, seed)
        );
        file.write_all(opening.as_bytes()).map_err(refuse)?;
        let (steps, to_write) = sync_channel(WAITING_STEPS);
        let (done, written) = sync_channel(1);
        let name = path.to_owned();
        std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                write(&to_write, &mut file, &name);
                let _nobody_waits = done.send(());
            })
            .map_err(refuse)?;
        Ok(Self { steps: Some(steps), written })
    }

    /// Writes a step, without waiting.
    pub fn note(&mut self, event: &Event, orders: &[Action]) {
        let Some(steps) = &self.steps else { return };
        let mut text = transcript::event_line(event);
        for order in orders {
            text += &transcript::order_line(event.at, order);
        }
        match steps.try_send(text) {
            Ok(()) => {}
            // The thread has told why it ended.
            Err(TrySendError::Disconnected(_)) => self.steps = None,
            Err(TrySendError::Full(_)) => {
                tracing::warn!(event = "record.ended", "the recording ends here: the disk does not keep up");
                self.steps = None;
            }
        }
    }

    /// Writes what is left; a disk that hangs does not hold up the end.
    pub fn finish(mut self) {
        self.steps = None;
        match self.written.recv_timeout(LAST_WRITES) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(
                    event = "record.unfinished",
                    "the end of the recording could not be written in time"
                );
            }
        }
    }
}

/// Writes steps until there are no more. A run that is killed loses nothing that was handed to the system.
fn write(steps: &Receiver<String>, file: &mut File, path: &Path) {
    let mut bytes = 0_u64;
    for step in steps {
        if let Err(error) = file.write_all(step.as_bytes()) {
            let path = path.display();
            tracing::warn!(event = "record.ended", "the recording {path} ends here: {error}");
            return;
        }
        bytes += step.len() as u64;
        if bytes > MOST_BYTES {
            let path = path.display();
            tracing::warn!(event = "record.ended", "the recording {path} ends here: it has {bytes} bytes");
            return;
        }
    }
}
