// @ts-check
/** The way to the first page that the permissions open. */

import { get } from "./api.js";
import { persistently } from "./banner.js";
import { firstPage } from "./shell.js";

location.replace(firstPage(await persistently(() => get("/v1/me/permissions"))));
