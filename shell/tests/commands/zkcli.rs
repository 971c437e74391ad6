//! What the comparison with zkCli does not cover, because the two differ there on purpose or because a script cannot show
//! it.

use ferrokeeper_shell::Invocation;

use crate::talk::{Talk, runtime, start, talk};

#[test]
fn old_commands_work_and_are_warned_of() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a", "create /a/b"]).await;
        let printed = talk.say("ls2 /a").await;
        assert_eq!(
            printed[..2],
            ["err 'ls2' has been deprecated. Please use 'ls [-s] path' instead.", "out [b]"]
        );
        assert!(printed[2].starts_with("out cZxid = 0x"), "{printed:?}");
        assert_eq!(
            talk.say("rmr /a").await,
            ["err The command 'rmr' has been deprecated. Please use 'deleteall' instead."]
        );
        assert_eq!(talk.say("ls /").await, ["out [zookeeper]"]);
    });
}

#[test]
fn versions_of_old_forms_count() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1"]).await;
        assert_eq!(talk.say("set /a 2 7").await, ["err version No is not valid : /a"]);
        assert_eq!(talk.say("set /a 2 0").await, [""; 0]);
        let warning =
            "err 'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.";
        assert_eq!(talk.say("delete /a 7").await, [warning, "err version No is not valid : /a"]);
        assert_eq!(talk.say("delete /a 1").await, [warning]);
    });
}

#[test]
fn a_watch_mode_is_for_one_command() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a", "create /b", "addWatch -m PERSISTENT /a", "addWatch /b"]).await;
        let mut printed = talk.say("create /b/c").await;
        // The event comes first, but two threads print.
        printed.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(printed, ["event state:SyncConnected type:NodeCreated path:/b/c", "err Created /b/c"]);
    });
}

#[test]
fn below_a_chroot_paths_are_the_users() {
    let running = start();
    runtime().block_on(async {
        let mut root = talk(&running, "").await;
        root.prepare(&["create /app", "create /app/x"]).await;
        let mut talk = talk(&running, "/app").await;
        assert_eq!(talk.say("create -e /mine").await, ["err Created /mine"]);
        assert_eq!(talk.say("getEphemerals").await, ["out [/mine]"]);
        talk.prepare(&["get -w /x"]).await;
        let printed = talk.say("set /x 1").await;
        assert_eq!(printed, ["event state:SyncConnected type:NodeDataChanged path:/x"]);
        assert_eq!(talk.say("setquota -n 9 /x").await, [""; 0]);
        let quota = "zookeeper_limits, zookeeper_stats";
        assert_eq!(root.say("ls /zookeeper/quota/app/x").await, [format!("out [{quota}]")]);
        assert!(talk.say("listquota /x").await[1].starts_with("out Output quota for /x count=9,bytes=-1"));
        assert_eq!(talk.say("delquota /x").await, [""; 0]);
        assert_eq!(root.say("ls /zookeeper/quota").await, ["out []"]);
    });
}

#[test]
fn whole_trees_are_deleted_whatever_their_size() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /tree"]).await;
        for number in 0..250 {
            talk.say(&format!("create /tree/{number}")).await;
        }
        // More batches than may be under way at once.
        assert_eq!(talk.say("deleteall -b 7 /tree").await, [""; 0]);
        assert_eq!(talk.say("ls /").await, ["out [zookeeper]"]);
    });
}

#[test]
fn the_exit_code_is_that_of_the_last_command_also_of_one_that_is_redone() {
    let running = start();
    runtime().block_on(async {
        for (lines, code) in [
            (&["get /none", "ls /"][..], 0),
            (&["ls /", "get /none"], 1),
            (&["nonsense"], 127),
            (&["get /none", "redo 0"], 1),
            (&["\""], 1),
        ] {
            let mut talk = talk(&running, "").await;
            talk.prepare(lines).await;
            assert_eq!(talk.shell.leave().await, code, "{lines:?}");
        }
    });
}

#[test]
fn a_line_without_words_repeats_nothing() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create -s /n-"]).await;
        assert_eq!(talk.say("\"").await.last().unwrap(), "err No command entered");
        assert_eq!(talk.say("ls /").await, ["out [n-0000000000, zookeeper]"]);
    });
}

#[test]
fn without_a_server_commands_fail_and_the_shell_goes_on() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let words = ["-server", &format!("127.0.0.1:{port}"), "-timeout", "50"].map(str::to_owned);
    runtime().block_on(async {
        let mut talk = Talk::begin_with(Invocation::parse(&words).unwrap()).await;
        assert_eq!(talk.say("get /a").await, ["err KeeperErrorCode = ConnectionLoss for /a"]);
        assert_eq!(talk.say("get").await.len(), 1, "usage needs no server");
        talk.prepare(&["close"]).await;
        assert_eq!(talk.say("get /a").await, ["out Not connected"]);
    });
}

#[test]
fn what_is_not_accepted_ends_the_session() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["addauth nonsense x"]).await;
        assert_eq!(talk.say("ls /").await, ["out Not connected"]);
        talk.prepare(&["connect"]).await;
        assert_eq!(talk.say("ls /").await, ["out [zookeeper]"]);
    });
}
