//! What a program prints, collected while it runs so that its pipes never fill, and waited for line by line.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::patient;

/// One stream of a program's output. A clone is the same stream.
#[derive(Debug, Clone, Default)]
pub struct Output {
    shared: Arc<(Mutex<Text>, Condvar)>,
}

#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    is_at_end: bool,
}

impl Output {
    /// Reads `pipe` to its end in a thread of its own.
    pub fn collect(pipe: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let writer = output.clone();
        std::thread::spawn(move || writer.read_all(pipe));
        output
    }

    /// A stream that nobody reads: empty, and at its end.
    pub(crate) fn unread() -> Self {
        let output = Self::default();
        output.lock().is_at_end = true;
        output
    }

    fn read_all(&self, mut pipe: impl Read) {
        let mut part = [0; 16 * 1024];
        loop {
            let count = pipe.read(&mut part).unwrap_or(0);
            let mut text = self.lock();
            text.bytes.extend_from_slice(&part[..count]);
            text.is_at_end = count == 0;
            self.shared.1.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_after(0)
    }

    /// What came after the first `mark` bytes.
    #[must_use]
    pub fn text_after(&self, mark: usize) -> String {
        String::from_utf8_lossy(self.lock().bytes.get(mark..).unwrap_or_default()).into_owned()
    }

    /// How many bytes there are so far: a mark for [`Output::wait_for_line_after`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Whether a line so far holds `part`.
    #[must_use]
    pub fn has_line(&self, part: &str) -> bool {
        self.text().lines().any(|line| line.contains(part))
    }

    /// The first whole line that holds `part`.
    ///
    /// # Panics
    /// When the time is over or the stream ends without it.
    #[must_use]
    pub fn wait_for_line(&self, part: &str, within: Duration) -> String {
        self.wait_for_line_after(0, part, within)
    }

    /// As [`Output::wait_for_line`], among what came after the mark.
    ///
    /// # Panics
    /// When the time is over or the stream ends without it.
    #[must_use]
    pub fn wait_for_line_after(&self, mark: usize, part: &str, within: Duration) -> String {
        self.try_wait_for_line_after(mark, &[part], within).unwrap_or_else(|| {
            panic!("no line with {part:?} within {:?} in:\n{}", patient(within), self.text())
        })
    }

    /// The first whole line after the mark that holds one of `parts`; nothing when the time is over or the stream ends.
    #[must_use]
    pub fn try_wait_for_line_after(&self, mark: usize, parts: &[&str], within: Duration) -> Option<String> {
        let deadline = Instant::now() + patient(within);
        let mut text = self.lock();
        loop {
            let new = String::from_utf8_lossy(text.bytes.get(mark..).unwrap_or_default());
            let whole =
                if text.is_at_end { &new[..] } else { new.rsplit_once('\n').map_or("", |(whole, _)| whole) };
            if let Some(line) = whole.lines().find(|line| parts.iter().any(|part| line.contains(part))) {
                return Some(line.to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || text.is_at_end {
                return None;
            }
            drop(new);
            text = self.shared.1.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until every writer closed the stream, so that [`Output::text`] is complete.
    pub fn wait_for_end(&self, within: Duration) {
        let deadline = Instant::now() + patient(within);
        let mut text = self.lock();
        while !text.is_at_end {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            text = self.shared.1.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
