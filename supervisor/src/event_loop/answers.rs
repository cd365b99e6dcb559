//! What scrapers and probes are told: alive, ready, the numbers. Reads what the loop knows and changes nothing that decides.

use hyper::StatusCode;
use supervisor_fleet::Phase;

use super::EventLoop;
use crate::{
    metrics,
    status_server::{Answer, Question, Topic},
};

impl EventLoop {
    pub(super) fn answer(&mut self, question: Question) {
        let answer = match question.topic {
            Topic::Health => Answer {
                status: StatusCode::OK,
                content_type: "text/plain; charset=utf-8",
                body: "ok\n".to_owned(),
            },
            Topic::Readiness => self.readiness(),
            Topic::Metrics => self.numbers(),
        };
        // Whoever asked may have gone.
        let _gone = question.answer.send(answer);
    }

    /// One ready worker serves; none, or a program that stops, should get no more requests.
    fn readiness(&self) -> Answer {
        let (ready, wanted) = (self.fleet.ready(), self.fleet.wanted());
        let mut reasons = Vec::new();
        match self.fleet.phase() {
            Phase::Running => {}
            Phase::Leaving => reasons.push("the program stops soon"),
            Phase::Idle => reasons.push("the program has not started"),
            Phase::Stopping | Phase::Finished => reasons.push("the program stops"),
        }
        if ready == 0 {
            reasons.push("no worker is ready");
        }
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::json!({
            "ready": reasons.is_empty(),
            "reasons": reasons,
            "workers_ready": ready,
            "workers_desired": wanted,
        });
        Answer { status, content_type: "application/json", body: format!("{body}\n") }
    }

    fn numbers(&mut self) -> Answer {
        let now = self.now();
        self.tally.refresh_usage(&self.workers, now);
        let serving = self.generations.get(&self.fleet.generation());
        let certificates = serving.and_then(|generation| generation.certificates.as_ref());
        let sight = metrics::Sight {
            fleet: &self.fleet,
            workers: &self.workers,
            tally: &self.tally,
            certificates,
            now,
        };
        match metrics::render(sight) {
            Ok(body) => Answer { status: StatusCode::OK, content_type: metrics::CONTENT_TYPE, body },
            Err(error) => {
                let body = format!("a bug of supervise: {error}\n");
                Answer {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    content_type: "text/plain; charset=utf-8",
                    body,
                }
            }
        }
    }
}
