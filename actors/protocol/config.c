/*  config - the tables of the configuration files */
#include "actors/protocol/config.h"

/* clang-format off */
RECORD_ENUM_DEFINE (log_level_name, LOG_LEVEL_NAMES)
RECORD_ENUM_DEFINE (durability, DURABILITY_NAMES)

#define RECORD_SELF log_config_t
RECORD_DEFINE (log_config, 0, 0, "Log.", LOG_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF peer_config_t
RECORD_DEFINE (peer_config, 0, 0, "A master, as other nodes know it.", PEER_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF api_config_t
RECORD_DEFINE (api_config, 0, 0, "The HTTPS API.", API_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF master_config_t
RECORD_DEFINE (master_config, 0, 0, "Configuration file of a master.", MASTER_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF lane_config_t
RECORD_DEFINE (lane_config, 0, 0, "Data lane of a worker.", LANE_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF worker_config_t
RECORD_DEFINE (worker_config, 0, 0, "Configuration file of a worker.", WORKER_CONFIG)
#undef RECORD_SELF
#define RECORD_SELF client_config_t
RECORD_DEFINE (client_config, 0, 0, "Configuration file of the nexus command as a client.", CLIENT_CONFIG)
#undef RECORD_SELF
/* clang-format on */
