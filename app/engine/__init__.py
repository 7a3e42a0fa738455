"""From prices to orders: a pure runner, the scheduler that runs it live, and the conductor of replays."""
