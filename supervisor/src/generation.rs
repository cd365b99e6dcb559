//! What the workers of one generation are started with: its settings, and the certificates that it serves with. Made before the
//! first worker and at each reload; kept as long as a worker of the generation lives.

use crate::{certificates::Certificates, config::settings::Settings, error::Expected};

/// The settings and certificates of a generation.
#[derive(Debug)]
pub struct Generation {
    /// What was settled.
    pub settings: Settings,
    /// Proven and in shared memory; none where every listener is plain.
    pub certificates: Option<Certificates>,
}

impl Generation {
    /// Reads and proves what the settings name; `before` is the generation that this one replaces.
    ///
    /// # Errors
    /// A certificate that cannot be used: nothing was changed then.
    pub fn prepare(settings: Settings, before: Option<&Self>) -> Expected<Self> {
        let before = before.and_then(|before| before.certificates.as_ref());
        let certificates = match (&settings.tls_files, &settings.worker.tls) {
            (Some(files), Some(rules)) => Some(Certificates::open(files, rules, before)?),
            (None, _) | (_, None) => None,
        };
        Ok(Self { settings, certificates })
    }
}
