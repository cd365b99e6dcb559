//! A real nginx in front: started with a configuration of the test's own, told to leave when it is dropped.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    processes::{self, Signal},
    wait_until,
};

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    log: PathBuf,
}

impl Nginx {
    /// An address of the loopback that nobody uses: nginx cannot listen on port 0. The kernel does not give it to anybody else at
    /// once.
    ///
    /// # Panics
    /// When the loopback has no port left.
    #[must_use]
    pub fn free_address() -> SocketAddr {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback is free");
        free.local_addr().expect("it is bound")
    }

    /// What every configuration needs to keep nginx in the foreground and its files in `directory`; the second part belongs into
    /// the http block.
    #[must_use]
    pub fn settings_within(directory: &Path) -> (String, String) {
        let place = |name: &str| directory.join(name).display().to_string();
        (
            format!("pid {};\ndaemon off;\n", place("nginx.pid")),
            format!(
                "access_log off;\nclient_body_temp_path {};\nproxy_temp_path {};\n",
                place("body"),
                place("proxy")
            ),
        )
    }

    /// Starts `program` in `directory` and waits until it listens at `address`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: &Path, directory: &Path, configuration: &str, address: SocketAddr) -> Self {
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration).expect("the test's own directory can be written");
        let log = directory.join("nginx.log");
        let stderr = fs::File::create(&log).expect("the log can be made");
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(directory)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("nginx can be started");
        let started = Self { child, log };
        wait_until("nginx listens", Duration::from_secs(10), || TcpStream::connect(address).is_ok());
        started
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        processes::send_signal(self.child.id(), Signal::SIGQUIT);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            println!("--- nginx:");
            for line in log.lines().take(20) {
                println!("{line}");
            }
        }
    }
}

/// Lets other users reach a test's directory: nginx's workers run as one.
pub fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for place in directory.ancestors().filter(|place| place.starts_with(std::env::temp_dir())) {
        if place != std::env::temp_dir() {
            let _not_ours = fs::set_permissions(place, fs::Permissions::from_mode(0o755));
        }
    }
}
