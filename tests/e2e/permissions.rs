//! Promise: who may connect to a unix socket is whom the options let: by the file's mode and owner, and by a client that is somebody
//! else. A mask holds for the files of the workers, too.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use harness::{
    Machine, Reloaded, Server, Tool,
    http::{Connection, Request},
    open_to_all, require,
};

/// Debian's `nobody` and `nogroup`; any that is not root would do.
const NOBODY: u32 = 65534;
/// A group that root is not in.
const THEIR_GROUP: u32 = 64_321;

fn start(machine: &Machine, arguments: &[&str]) -> Server {
    let server = machine.server().arguments(["--welcome", "--bind", "unix:web.sock"]);
    let server = arguments.iter().fold(server, |server, argument| server.arguments([*argument])).start();
    open_to_all(server.directory());
    server
}

/// Mode and owner of a file.
fn stat(file: &Path) -> (u32, u32, u32) {
    let data = fs::symlink_metadata(file).expect("the file is there");
    (data.permissions().mode() & 0o7777, data.uid(), data.gid())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is there").uid() == 0
}

/// Whether a process of this user and group is answered over the socket.
fn is_answered(curl: &Path, socket: &Path, user: u32, group: u32) -> bool {
    let mut command = Command::new(curl);
    command.args(["--silent", "--fail", "--max-time", "10", "--output", "/dev/null", "--unix-socket"]);
    let command = command.arg(socket).arg("http://localhost/healthz").uid(user).gid(group).current_dir("/");
    command.status().expect("curl runs").success()
}

#[test]
fn modes_of_unix_sockets() {
    let machine = Machine::shared();
    let cases: [(&[&str], u32); 4] = [
        (&[], 0o666),
        (&["--umask", "0027"], 0o640),
        (&["--unix-socket-mode", "0600"], 0o600),
        // A mode is what was asked for, whatever the mask.
        (&["-m", "077", "--chmod-socket", "0o660"], 0o660),
    ];
    for (arguments, mode) in cases {
        let server = start(&machine, arguments);
        let socket = server.directory().join("web.sock");
        assert_eq!(stat(&socket).0, mode, "{arguments:?}");
        let mut connection = Connection::open_unix(&socket).expect("its owner connects");
        assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
        server.stop();
    }
}

#[test]
fn only_who_is_let_in_is_answered() {
    let machine = Machine::shared();
    let Some(curl) = require(Tool::Curl).filter(|_| is_root()) else { return };
    let group_alone = format!(":{THEIR_GROUP}");
    let nobody = format!("{NOBODY}:{THEIR_GROUP}");
    let cases: [(&[&str], [bool; 2]); 5] = [
        // Whether nobody is answered, and whether nobody is within that group.
        (&[], [true, true]),
        (&["--unix-socket-mode", "0600"], [false, false]),
        (&["--umask", "0007"], [false, false]),
        (&["--unix-socket-mode", "0660", "--unix-socket-owner", &group_alone], [false, true]),
        (&["--unix-socket-mode", "0600", "--chown-socket", &nobody], [true, true]),
    ];
    for (arguments, expected) in cases {
        let server = start(&machine, arguments);
        let socket = server.directory().join("web.sock");
        let answered = [NOBODY, THEIR_GROUP].map(|group| is_answered(&curl, &socket, NOBODY, group));
        assert_eq!(answered, expected, "{arguments:?}: {:?}", stat(&socket));
        server.stop();
    }
}

#[test]
fn the_owner_of_a_unix_socket() {
    let machine = Machine::shared();
    if !is_root() {
        return;
    }
    for (owner, expected) in
        [("nobody:nogroup", (NOBODY, NOBODY)), ("65534", (NOBODY, 0)), (":64321", (0, 64_321))]
    {
        let server = start(&machine, &["--unix-socket-owner", owner]);
        let (mode, user, group) = stat(&server.directory().join("web.sock"));
        assert_eq!((mode, (user, group)), (0o666, expected), "{owner}");
        server.stop();
    }
}

#[test]
fn a_mask_for_the_files_of_the_workers() {
    let machine = Machine::shared();
    let server = start(&machine, &["--umask", "0137", "--access-logfile", "access.log"]);
    let mut connection = Connection::open_unix(&server.directory().join("web.sock")).expect("a connection");
    assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").status, 200);
    let file = server.directory().join("access.log");
    harness::wait_until("the access log", Duration::from_secs(10), || file.exists());
    assert_eq!(stat(&file).0, 0o640);
    server.stop();
}

#[test]
fn permissions_change_by_a_restart_only() {
    let machine = Machine::shared();
    let yaml = |mode: &str| format!("bind: unix:web.sock\nwelcome: true\nunix_socket_mode: \"{mode}\"\n");
    let server = machine.server().without_defaults();
    let server = server.file("supervise.yaml", &yaml("0600")).arguments(["--metrics", "127.0.0.1:0"]).start();
    let socket = server.directory().join("web.sock");
    server.write_file("supervise.yaml", &yaml("0666"));
    assert_eq!(server.reload(), Reloaded::Rejected);
    assert!(server.log.text().contains("unix_socket_mode"), "{}", server.log.text());
    assert_eq!(stat(&socket).0, 0o600);
    server.stop();
}

#[test]
fn permissions_that_mean_nothing_are_refused() {
    let machine = Machine::shared();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--umask", "27"], 2, "octal"),
        (&["--unix-socket-mode", "0999"], 2, "octal"),
        (&["--unix-socket-mode", "0660"], 2, "no --bind is a unix socket"),
        (
            &["--bind", "unix:a.sock", "--unix-socket-owner", "no-such-user-here"],
            2,
            "no user `no-such-user-here`",
        ),
        (&["--bind", "unix:a.sock", "--unix-socket-owner", ":no-such-group"], 2, "no group `no-such-group`"),
    ];
    for (arguments, code, said) in cases {
        let server =
            arguments.iter().fold(machine.server(), |server, argument| server.arguments([*argument]));
        let mut server = server.spawn();
        let status = server.wait_for_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(code), "{arguments:?}: {}", server.log.text());
        assert!(server.log.text().contains(said), "{arguments:?}: {}", server.log.text());
        assert!(!server.directory().join("a.sock").exists(), "{arguments:?}");
    }
}
