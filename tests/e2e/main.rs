//! The promises of the product, one file each, held against the built programs. Knows nothing of their insides.
//!
//! A test that loads the machine or measures time takes it alone ([`harness::Machine::alone`]), the others share it.

mod guest;
mod side_by_side;

mod access_log;
mod any_language;
mod asgi_extensions;
mod asgi_rules;
mod attacks;
mod behind_nginx;
mod black_box;
mod blocked_output;
mod broken_reload;
mod card;
mod cgi;
mod container;
mod crash;
mod crash_loop;
mod deploy;
mod even_load;
mod faults;
mod first_boot_fails;
mod footprint;
mod hang;
mod http2;
mod http_probes;
mod lifespan;
mod limits;
mod main_job;
mod notifications;
mod options;
mod orphan;
mod permissions;
mod pid_file_and_sockets;
mod probe_table;
mod prometheus;
mod proxy_fields;
mod python_contract;
mod pythons;
mod real_applications;
mod recycling;
mod reload_drops_nothing;
mod scaling;
mod shutdown_delay;
mod socket_activation;
mod standalone_worker;
mod stop;
mod strangers;
mod strict_http1;
mod tls;
mod walls;
mod websocket;
mod wsgi;
mod wsgi_clients;
mod wsgi_frameworks;
