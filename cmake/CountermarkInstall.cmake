# install(): headers, the stage libraries, a CMake package and a pkg-config file.
