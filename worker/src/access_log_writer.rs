//! Writes the lines of the access log on a thread of its own: the event loop puts a line into a bounded queue and goes on,
//! whatever the disk or the reader of a pipe does. What finds the queue full is dropped and counted. Knows lines as bytes and not
//! what is in them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::SigSet,
};
use protocol::scoreboard::{Counter, Record};
use worker_server::LINE_BYTES;

/// Bytes that wait at most: about half a second of a worker's most lines, should the disk stand still.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Lines are gathered for so long: a wake-up of the thread for each would cost more than the lines themselves.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// So many bytes are written at once without gathering more.
const BATCH_BYTES: usize = 64 * 1024;
/// A larger buffer is given back to the allocator when it is empty.
const KEPT_BYTES: usize = 256 * 1024;
/// The thread has nothing deep to do.
const STACK_BYTES: usize = 128 * 1024;

/// Where lines end up. Used on the writer's thread alone.
pub trait LineSink: Send + 'static {
    /// Writes whole lines. Gives the number of those that were lost, and why.
    ///
    /// # Errors
    /// [`LostLines`].
    fn write(&mut self, lines: &[u8]) -> Result<(), LostLines>;

    /// Opens what has a name anew, after somebody moved it away.
    ///
    /// # Errors
    /// Those of open(2); the old one stays in use.
    fn reopen(&mut self) -> io::Result<()>;
}

/// Lines that could not be written.
#[derive(Debug)]
pub struct LostLines {
    /// How many.
    pub lines: u64,
    /// Why.
    pub error: io::Error,
}

/// The queue before the thread. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct AccessLogWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    record: &'static Record,
}

#[derive(Debug)]
struct Queue {
    lines: Vec<u8>,
    writer: WriterState,
    reopen: Reopen,
}

/// What the thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// It waits for a line and must be woken for one.
    Waiting,
    /// It will look at the queue by itself.
    Busy,
    /// It writes what there is, and then no more.
    Finishing,
    /// It is gone, or as good as.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reopen {
    No,
    Wanted,
}

impl AccessLogWriter {
    /// Starts the thread. Lost lines are counted in `record`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(sink: impl LineSink, record: &'static Record) -> io::Result<Self> {
        let queue = Queue { lines: Vec::new(), writer: WriterState::Busy, reopen: Reopen::No };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new(), record });
        let of_thread = Arc::clone(&shared);
        let work = move || {
            // A signal is for the main thread; the kernel would else choose this one as well.
            let _refused = SigSet::all().thread_block();
            of_thread.run(sink);
        };
        std::thread::Builder::new().name("access-log".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { shared })
    }

    /// Puts a line into the queue, or drops and counts it when the queue is full. Never blocks: the lock is held by others only
    /// for an exchange of buffers.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > QUEUE_BYTES || queue.writer == WriterState::Finished {
            drop(queue);
            self.shared.count_lost(1);
            return;
        }
        queue.lines.extend_from_slice(line);
        if queue.writer == WriterState::Waiting {
            queue.writer = WriterState::Busy;
            drop(queue);
            self.shared.changed.notify_all();
        }
    }

    /// Has the file opened anew; what was put into the queue before goes to the old one.
    pub fn reopen(&self) {
        let mut queue = self.shared.lock();
        queue.reopen = Reopen::Wanted;
        if queue.writer == WriterState::Waiting {
            queue.writer = WriterState::Busy;
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, at most so long: a reader that takes nothing must not hold up an exit. Lines that come
    /// later are lost.
    pub fn finish(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut queue = self.shared.lock();
        if queue.writer != WriterState::Finished {
            queue.writer = WriterState::Finishing;
        }
        self.shared.changed.notify_all();
        while queue.writer != WriterState::Finished {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("the access log is not read: its last lines are lost");
                return;
            }
            let waited = self.shared.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A buffer and two flags are whole even when a thread died while it held the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_lost(&self, lines: u64) {
        self.record.add_from_any_thread(Counter::AccessLogLinesDropped, lines);
    }

    /// The thread: gathers, writes, reopens, until it is told to finish.
    fn run(&self, mut sink: impl LineSink) {
        let mut batch = Vec::new();
        let mut trouble = Trouble::None;
        loop {
            let (reopen, is_last) = self.next(&mut batch);
            if !batch.is_empty() {
                trouble.note(sink.write(&batch), self);
            }
            batch.clear();
            if batch.capacity() > KEPT_BYTES {
                batch = Vec::new();
            }
            if reopen == Reopen::Wanted
                && let Err(error) = sink.reopen()
            {
                tracing::error!(%error, "the access log cannot be reopened; the old file stays in use");
            }
            if is_last {
                self.lock().writer = WriterState::Finished;
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Waits for lines, and gathers them for a moment. Gives whether the file is to be opened anew after them, and whether they
    /// are the last.
    fn next(&self, batch: &mut Vec<u8>) -> (Reopen, bool) {
        let mut queue = self.lock();
        while queue.lines.is_empty() && queue.reopen == Reopen::No && queue.writer != WriterState::Finishing {
            queue.writer = WriterState::Waiting;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let is_urgent = queue.lines.len() >= BATCH_BYTES
            || queue.reopen == Reopen::Wanted
            || queue.writer == WriterState::Finishing;
        if !is_urgent {
            let gathered = self.changed.wait_timeout(queue, GATHER_TIME);
            queue = gathered.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut queue.lines, batch);
        let reopen = std::mem::replace(&mut queue.reopen, Reopen::No);
        (reopen, queue.writer == WriterState::Finishing)
    }
}

/// Whether writing works: said when it changes, not for each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Told(io::ErrorKind),
}

impl Trouble {
    fn note(&mut self, written: Result<(), LostLines>, shared: &Shared) {
        match written {
            Ok(()) => *self = Self::None,
            Err(LostLines { lines, error }) => {
                shared.count_lost(lines);
                if *self != Self::Told(error.kind()) {
                    *self = Self::Told(error.kind());
                    tracing::error!(%error, "the access log cannot be written; its lines are lost until it can");
                }
            }
        }
    }
}

/// Standard output, or a file that is opened for appending.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    path: Option<PathBuf>,
    kind: FileKind,
}

/// How much one write may take without being torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    /// As much as there is: an append is one step, whoever else appends.
    Regular,
    /// [`LINE_BYTES`]: pipes, sockets and terminals mix longer writes with those of others.
    Stream,
}

impl FileSink {
    /// Standard output. Its descriptor is duplicated, so that an application that closes its own does not close the log.
    ///
    /// # Errors
    /// It is closed.
    pub fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let kind = FileKind::of(&file)?;
        Ok(Self { file, path: None, kind })
    }

    /// A file, made if it is not there.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let kind = FileKind::of(&file)?;
        Ok(Self { file, path: Some(path.to_owned()), kind })
    }

    fn write_piece(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            match self.file.write(piece) {
                Ok(written) => piece = &piece[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut interest = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    let _interrupted = poll(&mut interest, PollTimeout::NONE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl LineSink for FileSink {
    fn write(&mut self, mut lines: &[u8]) -> Result<(), LostLines> {
        while !lines.is_empty() {
            let (piece, rest) = match self.kind {
                FileKind::Regular => (lines, &[][..]),
                FileKind::Stream => lines.split_at(whole_lines(lines)),
            };
            if let Err(error) = self.write_piece(piece) {
                return Err(LostLines { lines: line_count(lines), error });
            }
            lines = rest;
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            *self = Self::open(path)?;
        }
        Ok(())
    }
}

impl FileKind {
    fn of(file: &File) -> io::Result<Self> {
        Ok(if file.metadata()?.is_file() { Self::Regular } else { Self::Stream })
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A named pipe without a reader is an error, not a wait for one.
    OpenOptions::new().append(true).create(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// Length of as many whole lines as one write takes, at least one.
fn whole_lines(lines: &[u8]) -> usize {
    let piece = &lines[..lines.len().min(LINE_BYTES)];
    piece.iter().rposition(|&byte| byte == b'\n').map_or(piece.len(), |end| end + 1)
}

fn line_count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}
