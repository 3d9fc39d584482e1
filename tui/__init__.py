"""tui shows: the screens on this node, on logs, and on stored reports.  Nothing outside imports it but its command."""
