//! Layout of the evidence memfd: what is left to read when a worker hangs, fails or dies. One per worker, made by the
//! supervisor, sealed at its size. First a table of the requests in flight, then free text (tracebacks, stack dumps).

/// Size of the memfd. A 200-frame traceback is about 25 KiB.
pub const SIZE_BYTES: usize = 64 * 1024;
/// Requests that the table can name at once; more are counted but not named.
pub const REQUEST_SLOTS: usize = 64;
/// Size of one entry of the table: [`REQUEST_STARTED_BYTES`] of start time, two of length, then the request line.
pub const REQUEST_SLOT_BYTES: usize = 128;
/// Start of the request: milliseconds of CLOCK_MONOTONIC, little-endian u64; 0 marks a free entry.
pub const REQUEST_STARTED_BYTES: usize = 8;
/// Longest request line that an entry holds; a longer one is cut.
pub const REQUEST_LINE_BYTES: usize = REQUEST_SLOT_BYTES - REQUEST_STARTED_BYTES - 2;
/// Where the text begins: the worker seeks its descriptor here before the first write, and all writers append.
pub const TEXT_OFFSET: usize = REQUEST_SLOTS * REQUEST_SLOT_BYTES;

/// One request in flight, as the table names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInFlight {
    /// Milliseconds of CLOCK_MONOTONIC at its start.
    pub started_ms: u64,
    /// "GET /report?year=2026 HTTP/1.1", cut and lossy.
    pub line: String,
}

/// Fills one table entry.
pub fn write_request(entry: &mut [u8; REQUEST_SLOT_BYTES], started_ms: u64, line: &[u8]) {
    let length = line.len().min(REQUEST_LINE_BYTES);
    let text = REQUEST_STARTED_BYTES + 2;
    entry[text..text + length].copy_from_slice(&line[..length]);
    #[expect(clippy::cast_possible_truncation, reason = "a line is at most REQUEST_LINE_BYTES long")]
    let stored = (length as u16).to_le_bytes();
    entry[REQUEST_STARTED_BYTES..text].copy_from_slice(&stored);
    entry[..REQUEST_STARTED_BYTES].copy_from_slice(&started_ms.max(1).to_le_bytes());
}

/// Marks one table entry free.
pub fn clear_request(entry: &mut [u8; REQUEST_SLOT_BYTES]) {
    entry[..REQUEST_STARTED_BYTES].fill(0);
}

/// The requests in flight, oldest first. `memory` is the memfd's content; garbage yields garbage text, never a panic.
#[must_use]
pub fn requests_in_flight(memory: &[u8]) -> Vec<RequestInFlight> {
    let table = &memory[..memory.len().min(TEXT_OFFSET)];
    let (entries, _) = table.as_chunks::<REQUEST_SLOT_BYTES>();
    let mut requests: Vec<_> = entries.iter().filter_map(read_request).collect();
    requests.sort_by_key(|request| request.started_ms);
    requests
}

fn read_request(entry: &[u8; REQUEST_SLOT_BYTES]) -> Option<RequestInFlight> {
    let (started, rest) = entry.split_first_chunk::<REQUEST_STARTED_BYTES>()?;
    let (length, line) = rest.split_first_chunk::<2>()?;
    let started_ms = u64::from_le_bytes(*started);
    let length = usize::from(u16::from_le_bytes(*length)).min(line.len());
    (started_ms != 0)
        .then(|| RequestInFlight { started_ms, line: String::from_utf8_lossy(&line[..length]).into_owned() })
}

/// The text that was appended: all after the table up to the first NUL byte.
#[must_use]
pub fn text(memory: &[u8]) -> String {
    let text = memory.get(TEXT_OFFSET..).unwrap_or_default();
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}
