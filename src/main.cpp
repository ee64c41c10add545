#include "cli/command.h"

int main(int argc, char** argv) { return talaria::cli::run(argc, argv); }
