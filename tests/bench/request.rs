//! The bytes of a row's request.

use crate::rows::{Fields, Row, Workload};

impl Row {
    /// The whole request.
    pub(crate) fn request(&self, port: u16) -> Vec<u8> {
        let method = if matches!(self.fields, Fields::Upload { .. }) { "POST" } else { "GET" };
        let mut request = format!("{method} {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", self.path);
        match (self.fields, self.workload) {
            (Fields::Browser, _) => request.push_str(BROWSER_FIELDS),
            (Fields::Upload { body_bytes }, _) => {
                request.push_str(&format!("Content-Length: {body_bytes}\r\n\r\n"));
                request.push_str(&"x".repeat(body_bytes));
                return request.into_bytes();
            }
            (Fields::HostOnly, Workload::NewConnections { .. }) => request.push_str("Connection: close\r\n"),
            (
                Fields::HostOnly,
                Workload::Saturated { .. }
                | Workload::H2load { .. }
                | Workload::WebSocketEcho { .. }
                | Workload::Paced { .. }
                | Workload::Start
                | Workload::Idle { .. },
            ) => {}
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}

/// With `Host` the 14 fields of a navigation in a current browser.
const BROWSER_FIELDS: &str = "Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,ko;q=0.8\r\n";
