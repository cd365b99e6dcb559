//! One layer of settings over another: what the upper one says wins, and settings that belong together are taken together.

use super::RawSettings;

/// Takes each of these fields from the lower layer where the upper one has none.
macro_rules! fall_back {
    ($upper:ident, $below:ident: $($field:ident),* $(,)?) => {
        $($upper.$field = $upper.$field.take().or($below.$field.take());)*
    };
}

impl RawSettings {
    /// These settings, and where they say nothing those of `below`.
    #[must_use]
    pub fn over(mut self, mut below: Self) -> Self {
        self.protocols_over(&mut below);
        self.recycling_over(&mut below);
        // The three spellings of the address are one setting.
        if !self.bind.is_empty() || self.host.is_some() || self.port.is_some() {
            below.bind.clear();
            below.host = None;
            below.port = None;
        }
        if self.bind.is_empty() {
            self.bind = std::mem::take(&mut below.bind);
        }
        // Certificates and their keys go together.
        if self.certfile.is_empty() && self.keyfile.is_empty() {
            self.certfile = std::mem::take(&mut below.certfile);
            self.keyfile = std::mem::take(&mut below.keyfile);
        }
        if self.insecure_bind.is_empty() {
            self.insecure_bind = std::mem::take(&mut below.insecure_bind);
        }
        // The same setting in both senses.
        if self.access_log.is_some() || self.no_access_log.is_some() {
            below.access_log = None;
            below.no_access_log = None;
        }
        // A name that both layers set keeps the value of the upper one, because later entries win.
        self.env.splice(0..0, std::mem::take(&mut below.env));
        self.header.splice(0..0, std::mem::take(&mut below.header));
        self.fall_back_to(below);
        self
    }

    /// Takes from `below` each value that is not there, for settings that are independent of each other.
    fn fall_back_to(&mut self, mut below: Self) {
        fall_back!(self, below:
            app,
            worker_class,
            workers,
            threads,
            max_surge,
            timeout,
            boot_timeout,
            graceful_timeout,
            chdir,
            host,
            port,
            metrics,
            keyfile_password,
            keyfile_password_file,
            ca_certs,
            cert_reqs,
            ciphers,
            tls_minimum_version,
            tls_handshake_timeout,
            redirect_https,
            keep_alive,
            header_read_timeout,
            body_read_timeout,
            write_timeout,
            drain_linger,
            half_close,
            limit_request_line,
            limit_request_head,
            limit_request_fields,
            limit_request_body,
            proxy_headers,
            forwarded_headers,
            forwarded_allow_ips,
            proxy_protocol,
            proxy_allow_ips,
            access_log,
            no_access_log,
            access_logfile,
            access_logformat,
            access_logger,
            server_header,
            date_header,
            asgi_spec_version,
            root_path,
            root_path_mode,
            cancel_on_disconnect,
            reset_contextvars,
            python,
            app_dir,
            factory,
            interface,
            lifespan,
            event_loop,
            env_file,
            log_config,
            ws,
            ws_max_size,
            ws_ping_interval,
            ws_ping_timeout,
            ws_per_message_deflate,
            record,
            pid,
            log_level,
            log_format,
            welcome,
        );
    }

    /// The same for when workers are replaced.
    fn recycling_over(&mut self, below: &mut Self) {
        fall_back!(self, below:
            max_requests,
            max_requests_jitter,
            max_lifetime,
            max_lifetime_jitter,
            max_memory,
            max_memory_hard,
        );
    }

    /// The same for permissions, for the bounds of load, and for what only some protocols and interfaces have.
    fn protocols_over(&mut self, below: &mut Self) {
        fall_back!(self, below:
            unix_socket_mode,
            unix_socket_owner,
            umask,
            shutdown_delay,
            secure_scheme_headers,
            forwarder_headers,
            min_body_rate,
            request_timeout,
            worker_connections,
            limit_concurrency,
            limit_queue,
            queue_timeout,
            http2,
            http2_max_concurrent_streams,
            http2_max_header_list_size,
            http2_max_frame_size,
            http2_initial_window_size,
            http2_connection_window_size,
            http2_send_buffer_size,
            http2_max_pending_resets,
            http2_max_local_resets,
            http2_max_idle_frames,
            http2_ping_interval,
            http2_ping_timeout,
            cgi_timeout,
            cgi_processes,
            cgi_pass_authorization,
            wsgi_request_buffer,
            wsgi_reply_buffer,
        );
    }
}
