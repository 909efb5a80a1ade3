// docker buildx bake -f sd/docker-bake.hcl            (in remote_scripts/)
// docker buildx bake -f sd/docker-bake.hcl --set default.args.MODEL_NAME=dreamshaper

variable "IMAGE" {
  default = "gpuctl-sd"
}

group "default" {
  targets = ["default"]
}

target "default" {
  context    = "."
  dockerfile = "sd/Dockerfile"
  platforms  = ["linux/amd64"]
  tags       = ["${IMAGE}:v1.9.3"]
  args = {
    APP_NAME              = "gpuctl-sd"
    BASE_IMAGE            = "python:3.10.14-slim-bookworm"
    GIT_REPO_URL          = "https://github.com/AUTOMATIC1111/stable-diffusion-webui.git"
    GIT_VERSION           = "v1.9.3"
    MODEL_NAME            = "awportrait_v14"
    STABLE_DIFFUSION_REPO = "https://github.com/w-e-w/stablediffusion.git"
  }
}

// The last release of the WebUI.
target "v1-10-1" {
  inherits = ["default"]
  tags     = ["${IMAGE}:v1.10.1"]
  args = {
    GIT_VERSION = "v1.10.1"
  }
}
