// PM2's list of Sauda's processes. scripts/run starts it; so does `pm2 start ecosystem.config.js` with the SAUDA_*
// settings in the environment. How many of each: SAUDA_API_INSTANCES, SAUDA_WORKERS, SAUDA_SCHEDULERS, SAUDA_FEEDS,
// SAUDA_KEEPERS, SAUDA_EXCHANGES (0 leaves a role out).
const path = require("path");

const root = __dirname;

// A stopping process first finishes what it began: a worker lets its broker calls end (SAUDA_DRAIN_S, 20 s as shipped).
// Killing it before that would leave orders whose fate nobody knows.
const DRAIN_S = Number(process.env.SAUDA_DRAIN_S || 20);
const DRAIN_KILL_MS = (DRAIN_S + 5) * 1000;
const PLAIN_KILL_MS = 10000;

function count(name, usual) {
  const value = process.env[name] === undefined ? usual : Number(process.env[name]);
  if (!Number.isInteger(value) || value < 0 || value > 64) {
    throw new Error(`${name} must be a whole number from 0 to 64, not "${process.env[name]}"`);
  }
  return value;
}

function role(name, instances, killTimeoutMs) {
  const log = path.join(root, "logs", `${name}.log`);
  return {
    name,
    cwd: root,
    script: ".venv/bin/python", // not absolute: PM2 hands a script whose path contains a space to bash, unquoted
    args: ["-m", "app", name],
    interpreter: "none",
    exec_mode: "fork",
    instances,
    kill_timeout: killTimeoutMs,
    autorestart: true,
    // A role that cannot start is tried again after 0.2 s, 0.3 s, ... at most 15 s; given up after a good half hour.
    exp_backoff_restart_delay: 200,
    min_uptime: 5000,
    max_restarts: 150,
    out_file: log,
    error_file: log,
    merge_logs: true,
    time: false,
    vizion: false,
  };
}

module.exports = {
  apps: [
    role("exchange", count("SAUDA_EXCHANGES", 1), PLAIN_KILL_MS),
    role("api", count("SAUDA_API_INSTANCES", 1), PLAIN_KILL_MS),
    role("worker", count("SAUDA_WORKERS", 2), DRAIN_KILL_MS),
    role("keeper", count("SAUDA_KEEPERS", 1), PLAIN_KILL_MS),
    role("feed", count("SAUDA_FEEDS", 1), PLAIN_KILL_MS),
    role("scheduler", count("SAUDA_SCHEDULERS", 1), PLAIN_KILL_MS),
  ].filter((app) => app.instances > 0),
};
