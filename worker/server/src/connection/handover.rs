//! The hand-over of a connection from one stage to the next. Knows no protocol.

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageEnd {
    /// The connection is closed.
    Closed,
    /// The connection goes on with another protocol.
    Next(NextStage),
}

/// What speaks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStage {
    /// WebSocket; the handshake was answered in full.
    WebSocket,
}
