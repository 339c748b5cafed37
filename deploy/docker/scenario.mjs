// What docker-test.sh runs: both compose files, instances scaled 3 -> 5 -> 2, killed and paused, a balancer killed, all under
// `loadtest run` inside the network; those that are scaled away wait for their calls. Prints each rule with what was measured;
// status 1 if one broke.
import { execFile, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { promisify } from "node:util";

const out = process.argv[2];
const deploy = dirname(import.meta.dirname);
const USERS = 60;
/** Users whose calls are shorter than HOLDFAST_SHUTDOWN_GRACE_MS, and others whose calls never end. */
const SHORT = { users: 48, callSeconds: 5 };
const LONG = { users: 12 };
const ADMINS = [9080, 9081];
const LIMIT_MS = 20_000;
const LOCAL_LOAD = "run --target http://127.0.0.1:8080 --target http://127.0.0.1:8081 --rate 30 --duration 5".split(
  " ",
);
let broken = 0;

const docker = (...args) => execFileSync("docker", args, { encoding: "utf8" }).trim();
const inspect = (ids) => (ids.length ? JSON.parse(docker("inspect", ...ids)) : []);
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** docker-compose, without blocking the questions that are asked meanwhile. */
async function compose(file, ...args) {
  const { stdout } = await promisify(execFile)("docker-compose", ["-f", `${deploy}/${file}`, ...args]);
  return stdout.trim();
}
const bridge = (...args) => compose("docker-compose.yml", ...args);
const host = (...args) => compose("docker-compose.host.yml", ...args);
const containers = async (service) => inspect((await bridge("ps", "-q", service)).split("\n").filter(Boolean));

function rule(holds, text) {
  console.log(`${holds ? "ok  " : "FAIL"}  ${text}`);
  broken += holds ? 0 : 1;
}

async function ask(port, path) {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(1000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

/** What balancers say of the instances that are up. */
async function up(ports = ADMINS) {
  const lists = await Promise.all(ports.map(async (port) => (await ask(port, "/instances")).json()));
  return lists.map((list) => list.filter((each) => each.state === "up"));
}
/** WebSockets through a balancer now. */
async function tunnels(port) {
  const text = await (await ask(port, "/metrics")).text();
  const count = (name) => Number(text.match(new RegExp(`^holdfast_tunnels_${name}_total (\\d+)$`, "m"))[1]);
  return count("opened") - count("closed");
}
const sessions = (list) => list.reduce((sum, each) => sum + each.sessions, 0);
const all = (lists, holds) => lists.length > 0 && lists.every(holds);

/** Asks again and again until it holds; the milliseconds that took, or null after the limit. */
async function until(holds, limit = LIMIT_MS) {
  const start = performance.now();
  while (performance.now() - start < limit) {
    if (await holds().catch(() => false)) return Math.round(performance.now() - start);
    await sleep(50);
  }
  return null;
}
async function expect(text, holds, limit) {
  const took = await until(holds, limit);
  rule(took !== null, `${text}: ${took === null ? `not within ${(limit ?? LIMIT_MS) / 1000} s` : `${took} ms`}`);
}
const figures = (file) => JSON.parse(readFileSync(`${out}/${file}`, "utf8"));
/** The same from the start of a command on, which must end well. */
async function during(command, ...expected) {
  await Promise.all([command, expect(...expected)]);
}
const everybodyServed = (ports) => async () => all(await up(ports), (list) => sessions(list) === USERS);

/** A load run inside the network, until it is ended; its figures go to `file`. */
async function startLoad(file, ...flags) {
  const targets = ["--target", "http://balancer-1:8080", "--target", "http://balancer-2:8080"];
  const run = ["run", "-d", "-v", `${out}:/out`, "loadtest", "run", "--json", `/out/${file}`, "--duration", "600"];
  const printed = await bridge(...run, ...targets, ...flags);
  return printed.split("\n").at(-1);
}
function endLoad(container) {
  docker("kill", "--signal", "INT", container);
  docker("wait", container);
}

/** From the birth of these containers' processes until the slower balancer had the instance up. */
function startToUp(started, lists) {
  const ages = new Map(started.map((each) => [address(each), ageOf(each.State.Pid)]));
  const delays = lists.flat().filter((each) => ages.has(hostOf(each)));
  return Math.round(Math.max(...delays.map((each) => ages.get(hostOf(each)) - each.up_ms)));
}
/** Milliseconds since the process began; field 22 of proc_pid_stat(5) counts in hundredths of a second since the boot. */
function ageOf(pid) {
  const began = Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")[19]);
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  return uptime * 1000 - began * 10;
}
const address = (container) => Object.values(container.NetworkSettings.Networks)[0].IPAddress;
const hostOf = (instance) => instance.http.split(":")[0];

function report(file) {
  const r = figures(file);
  rule(r.signed_in === r.users, `every user signed in: ${r.signed_in} of ${r.users}`);
  rule(r.never_recovered === 0, `every user came back: ${r.never_recovered} did not, ${r.recovered} did`);
  rule(r.falsely_lost === 0, `calls ended although instance and media lived: ${r.falsely_lost}`);
  const part = r.packets_returned / r.packets_sent;
  rule(
    part > 0.8,
    `media: ${r.packets_returned} of ${r.packets_sent} packets came back, ${r.calls_lost} calls were lost`,
  );
}

async function bridged() {
  console.log("\ndocker-compose.yml: a bridge");
  const three = async () => all(await up(), (list) => list.length === 3);
  await during(bridge("up", "-d", "--no-build"), "three instances are up at both balancers", three);
  await expect("every container says it is healthy", async () => {
    const ids = docker("ps", "-q").split("\n");
    return ids.length === 6 && inspect(ids).every((each) => each.State.Health.Status === "healthy");
  });
  rule(
    inspect(docker("ps", "-q").split("\n")).every((each) => each.Config.User === "65532:65532"),
    "none runs as root",
  );

  const load = await startLoad("bridge.json", "--users", `${USERS}`, "--rate", "2.5");
  await expect("the first users are served", async () => all(await up(), (list) => sessions(list) > USERS / 5));

  const before = new Set((await containers("gateway")).map((each) => each.Id));
  const five = async () => all(await up(), (list) => list.length === 5);
  await during(bridge("up", "-d", "--no-build", "--scale", "gateway=5"), "scaled to five", five);
  const added = (await containers("gateway")).filter((each) => !before.has(each.Id));
  const delay = startToUp(added, await up());
  rule(added.length === 2 && delay <= 1000, `from a new container's start to its use by both balancers: ${delay} ms`);
  await expect("each of the five has users", async () =>
    all(await up(), (list) => list.every((each) => each.sessions > 0)),
  );
  await expect("all users are served", everybodyServed(), 40_000);
  const registered = async () =>
    all(await up(), (list) => list.reduce((sum, each) => sum + each.registered, 0) === USERS);
  await expect("all users are registered at Kamailio", registered);

  await killed((await containers("gateway"))[0]);
  await paused((await containers("gateway"))[1]);
  await balancerKilled();

  endLoad(load);
  report("bridge.json");
  await scaledDown();
  await sipServerMoves();
  await fromTheMachine();
  const logs = await bridge("logs", "--no-color");
  rule(!logs.includes("panicked"), "nothing panicked");
  await bridge("down", "--volumes", "--remove-orphans");
}

/** Whoever opens http://localhost:8080 on this machine: published ports, and media straight to the containers. */
async function fromTheMachine() {
  console.log("\nfrom the machine itself");
  const loadtest = `${dirname(deploy)}/target/prebuilt/loadtest`;
  await promisify(execFile)(loadtest, [...LOCAL_LOAD, "--users", "10", "--json", `${out}/machine.json`]);
  report("machine.json");
  await twoPeopleTalk();
}

/** Two browsers at two balancers, through Kamailio; each must hear the other's microphone. */
async function twoPeopleTalk() {
  const { chromium } = createRequire(`${dirname(deploy)}/js-client/package.json`)("playwright-core");
  const fakes = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
  const flags = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    ...fakes,
  ];
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
  async function signedIn(url, name) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(url);
    await page.getByTestId("user").fill(name);
    await page.getByTestId("sign-in").click();
    await page.getByTestId("connection").filter({ hasText: "Connected" }).waitFor();
    return page;
  }
  const hears = (page) => async () => Number(await page.getByTestId("remote-level").getAttribute("aria-valuenow")) > 5;
  try {
    const alice = await signedIn("http://localhost:8080", "alice");
    const bob = await signedIn("http://localhost:8081", "bob");
    await expect("two people are registered", async () => {
      const registered = (list) => list.reduce((sum, each) => sum + each.registered, 0);
      return all(await up(), (list) => registered(list) === 2);
    });
    await alice.getByTestId("target").fill("bob");
    await alice.getByTestId("dial").click();
    await bob.getByTestId("incoming").getByRole("button", { name: "Answer" }).click();
    await expect("the one who calls hears the other", hears(alice));
    await expect("the one who was called hears the other", hears(bob));
  } catch (error) {
    rule(false, `two people talk: ${error}`);
  } finally {
    await browser.close();
  }
}

/** Instances that are scaled away take no calls, wait for those they have, and end what outlasts their grace. */
async function scaledDown() {
  console.log("\nscaled down under calls");
  const short = await startLoad(
    "short.json",
    ...["--users", `${SHORT.users}`, "--rate", "16", "--call-length", `${SHORT.callSeconds}`, "--seed", "2"],
  );
  const long = await startLoad("long.json", "--users", `${LONG.users}`, "--rate", "16", "--seed", "3");
  await expect("everybody calls, on five instances", async () =>
    all(await up(), (list) => sessions(list) === USERS && list.length === 5 && list.every((each) => each.calls > 0)),
  );
  const start = performance.now();
  const scaled = bridge("up", "-d", "--no-build", "--scale", "gateway=2").then(() => performance.now() - start);
  const byTwo = async () => all(await up(), (list) => list.length === 2 && sessions(list) === USERS);
  await during(scaled, "scaled to two, all users are served", byTwo, 60_000);
  console.log(`      the command itself took ${Math.round(await scaled)} ms`);
  // Those who were moved call again.
  await sleep(SHORT.callSeconds * 1000);
  [short, long].forEach(endLoad);
  report("short.json");
  const brief = figures("short.json");
  rule(brief.calls_lost === 0, `calls shorter than the grace, ended with their instance: ${brief.calls_lost} of ${brief.calls}`);
  rule(brief.calls_failed === 0, `redials refused: ${brief.calls_failed}`);
  report("long.json");
  const { calls_lost, calls_drained } = figures("long.json");
  rule(calls_lost === calls_drained, `calls that outlast it end as drained: ${calls_drained} of ${calls_lost} lost`);
}

/** Kamailio is made anew while somebody else takes its address. */
async function sipServerMoves() {
  const USERS_THERE = 6;
  const registered = (list) => list.reduce((sum, each) => sum + each.registered, 0);
  const [old] = await containers("kamailio");
  await bridge("rm", "--stop", "--force", "kamailio");
  const load = await startLoad("moved.json", "--users", `${USERS_THERE}`, "--rate", "30", "--seed", "4");
  await expect("users are served without Kamailio", async () => all(await up(), (list) => sessions(list) === USERS_THERE));
  await bridge("up", "-d", "--no-build", "--no-deps", "kamailio");
  const [now] = await containers("kamailio");
  rule(address(now) !== address(old), `Kamailio is made anew at another address: ${address(old)}, now ${address(now)}`);
  await expect("all users are registered there", async () => all(await up(), (list) => registered(list) === USERS_THERE));
  endLoad(load);
}

/** Docker starts it again at the same address: that is another instance. */
async function killed(victim) {
  const at = address(victim);
  const boots = (lists) => lists.map((list) => list.find((each) => hostOf(each) === at)?.boot_id);
  const [old] = boots(await up());
  process.kill(victim.State.Pid, "SIGKILL");
  await expect("after kill -9 all users are served by others", async () => {
    const lists = await up();
    return all(boots(lists), (boot) => boot !== old) && all(lists, (list) => sessions(list) === USERS);
  });
  await expect("the restarted container is a new instance at the old address", async () =>
    all(boots(await up()), (boot) => boot !== undefined && boot !== old),
  );
}

async function paused(victim) {
  const gone = (lists) => all(lists, (list) => !list.some((each) => hostOf(each) === address(victim)));
  docker("pause", victim.Id);
  await expect("after a pause all users are served by others", async () => {
    const lists = await up();
    return gone(lists) && all(lists, (list) => sessions(list) === USERS);
  });
  // A packet that comes back within a second of the verdict would count as proof that it was wrong.
  await sleep(2000);
  docker("unpause", victim.Id);
  await expect("it is up again", async () => all(await up(), (list) => list.length === 5));
}

async function balancerKilled() {
  const [victim] = await containers("balancer-2");
  docker("kill", victim.Id);
  await expect("with one balancer killed all users are at the other", async () => (await tunnels(ADMINS[0])) === USERS);
  await expect("and attached", everybodyServed([ADMINS[0]]));
  docker("start", victim.Id);
  await expect("it is ready again", () => ask(ADMINS[1], "/readyz"));
  await expect("and knows of all users", everybodyServed());
}

async function onHostNetwork() {
  console.log("\ndocker-compose.host.yml: the machine's own network");
  const three = async () => all(await up(), (list) => list.length === 3);
  await during(host("up", "-d", "--no-build"), "three instances are up at both balancers", three);
  const rest = [...LOCAL_LOAD, "--users", "30", "--json", "/out/host.json"];
  await host("run", "--rm", "-v", `${out}:/out`, "loadtest", ...rest);
  report("host.json");
  await twoPeopleTalk();
  await host("down", "--volumes");
}

await bridged();
await onHostNetwork();
process.exitCode = broken > 0 ? 1 : 0;
