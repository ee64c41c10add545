#pragma once
// Exit codes tell the service manager the truth (names from sysexits.h).

namespace talaria {

enum class ExitCode : int {
  planned = 0,      // stop, replaced, interactive Ctrl-C: the unit stays inactive
  unplanned = 1,    // unexplained signal, internal failure: the manager restarts
  usage = 64,       // EX_USAGE: wrong command line
  owned = 73,       // EX_CANTCREAT: another incarnation owns this profile (interactive start only)
  unclear = 74,     // EX_IOERR: a command does not know whether what it asked for was done
  again = 75,       // EX_TEMPFAIL: "start me again"
  permission = 77,  // EX_NOPERM
  config = 78,      // EX_CONFIG: restarting can't help, the manager does not restart
};

}  // namespace talaria
