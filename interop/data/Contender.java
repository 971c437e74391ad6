import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.data.Stat;

/**
 * Contenders that use Curator. What they read and what they print is described in interop/src/recipes/contender.rs;
 * one process holds many of them, each with a thread and a session.
 */
public final class Contender {
    private static final CountDownLatch GO = new CountDownLatch(1);

    private final String who;
    private final String server;
    private final String recipe;
    private final String path;
    private final int number;
    private CuratorFramework client;

    private Contender(String[] words) {
        who = words[0];
        server = words[1];
        recipe = words[2];
        path = words[3];
        number = Integer.parseInt(words[4]);
    }

    public static void main(String[] arguments) throws Exception {
        int timeoutMs = Integer.parseInt(arguments[0]);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<Thread> threads = new ArrayList<>();
        for (String line = input.readLine(); !line.equals("go"); line = input.readLine()) {
            Contender contender = new Contender(line.split(" "));
            Thread thread = new Thread(() -> contender.live(timeoutMs));
            thread.start();
            threads.add(thread);
        }
        GO.countDown();
        for (Thread thread : threads) {
            thread.join();
        }
        System.exit(0);
    }

    private void live(int timeoutMs) {
        client = CuratorFrameworkFactory.newClient(server, timeoutMs, timeoutMs, new ExponentialBackoffRetry(50, 10));
        client.start();
        try {
            client.blockUntilConnected();
            say("ready");
            GO.await();
            contend();
            client.close();
            say("done");
        } catch (Throwable failure) {
            say("failed " + failure.toString().replace('\n', ' '));
        }
    }

    private void say(String what) {
        String line = who + " " + what + "\n";
        synchronized (System.out) {
            System.out.print(line);
            System.out.flush();
        }
    }

    private void contend() throws Exception {
        switch (recipe) {
            case "put":
                for (int entry = 0; entry < number; entry++) {
                    byte[] data = (who + "/" + entry).getBytes(StandardCharsets.UTF_8);
                    new SimpleDistributedQueue(client, path).offer(data);
                }
                return;
            case "take":
                for (int entry = 0; entry < number; entry++) {
                    byte[] data = new SimpleDistributedQueue(client, path).take();
                    say("took " + new String(data, StandardCharsets.UTF_8));
                }
                return;
            case "count":
                DistributedAtomicLong counter =
                        new DistributedAtomicLong(client, path, new ExponentialBackoffRetry(1, 20));
                for (int done = 0; done < number; ) {
                    done += counter.increment().succeeded() ? 1 : 0;
                }
                return;
            case "meet":
                DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, path, number);
                say("comes " + System.nanoTime());
                barrier.enter();
                say("inside " + System.nanoTime());
                say("leaves " + System.nanoTime());
                barrier.leave();
                say("outside " + System.nanoTime());
                return;
            default:
                // Who is to hold for ever does not come back from the first hold.
                for (int round = 0; round < Math.max(number, 1); round++) {
                    holdOnce();
                }
        }
    }

    private void holdOnce() throws Exception {
        switch (recipe) {
            case "mutex": {
                InterProcessMutex mutex = new InterProcessMutex(client, path);
                mutex.acquire();
                hold(path, true);
                mutex.release();
                return;
            }
            case "read":
            case "write": {
                InterProcessReadWriteLock both = new InterProcessReadWriteLock(client, path);
                InterProcessMutex lock = recipe.equals("write") ? both.writeLock() : both.readLock();
                lock.acquire();
                hold(path, recipe.equals("write"));
                lock.release();
                return;
            }
            case "latch": {
                LeaderLatch latch = new LeaderLatch(client, path, who);
                latch.start();
                latch.await();
                hold(path, true);
                latch.close();
                return;
            }
            case "selector":
                select();
                return;
            case "semaphore-2": {
                InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, 2);
                Lease lease = semaphore.acquire();
                hold(path + "/leases", false);
                semaphore.returnLease(lease);
                return;
            }
            default:
                throw new IllegalArgumentException(recipe);
        }
    }

    private void select() throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        Exception[] failure = new Exception[1];
        LeaderSelector selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework ignored) {
                try {
                    hold(path, true);
                } catch (Exception exception) {
                    failure[0] = exception;
                }
                over.countDown();
            }
        });
        selector.start();
        over.await();
        // The selector's own thread gives up when takeLeadership has returned; close would interrupt it.
        while (!client.getZookeeperClient().getZooKeeper().getEphemerals(path).isEmpty()) {
            Thread.yield();
        }
        selector.close();
        if (failure[0] != null) {
            throw failure[0];
        }
    }

    /** A hold, from its first moment to its last, with the only node of this session below {@code parent}. */
    private void hold(String parent, boolean exclusive) throws Exception {
        long begin = System.nanoTime();
        String node = client.getZookeeperClient().getZooKeeper().getEphemerals(parent).get(0);
        long token = client.checkExists().forPath(node).getCzxid();
        say("begin " + (exclusive ? "alone " : "shared ") + token + " " + begin);
        if (number == 0) {
            new CountDownLatch(1).await();
        }
        Stat stat = new Stat();
        String ledger = path + "-ledger";
        byte[] before = client.getData().storingStatIn(stat).forPath(ledger);
        if (exclusive) {
            if (Long.parseLong(new String(before, StandardCharsets.UTF_8)) >= token) {
                throw new IllegalStateException("the ledger has seen token " + new String(before) + ", mine is " + token);
            }
            byte[] mine = Long.toString(token).getBytes(StandardCharsets.UTF_8);
            client.setData().withVersion(stat.getVersion()).forPath(ledger, mine);
        }
        say("end " + System.nanoTime());
    }
}
